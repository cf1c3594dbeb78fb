"""What the catalogue keeps beside agents: prompts and MCP servers, in its database alone or as the copy of Nacos."""

import asyncio
from collections.abc import Callable

from parley_registry.backends.sql.database import Database
from parley_registry.backends.sql.things import SqlThings
from parley_registry.guarding import GuardedMcpServers, GuardedPrompts
from parley_registry.mcp.mirror import MirroredMcpServers
from parley_registry.mcp.record import SqlMcpServers
from parley_registry.nacos.mcp import NacosMcp
from parley_registry.nacos.server import Nacos
from parley_registry.prompts.records.mirrored import MirroredPrompts
from parley_registry.prompts.records.sql import SqlPrompts
from parley_registry.warden import Warden


class Rooms:
    """Rooms in a `database` that is open, changed by whom the `warden` lets, following `nacos` if there is one.
    `changed` is called after what others changed was brought over. Have `run` run."""

    def __init__(
        self,
        database: Database,
        warden: Warden,
        nacos: Nacos | None = None,
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        prompts, servers = SqlPrompts(database), SqlMcpServers(database)
        self._prompts: MirroredPrompts | None = None
        self._servers: MirroredMcpServers | None = None
        if nacos is not None:
            namespaces = nacos.address.namespaces
            self._prompts = MirroredPrompts(nacos, prompts, namespaces, changed)
            self._servers = MirroredMcpServers(NacosMcp(nacos.http), servers, namespaces, changed)
        self.prompts = GuardedPrompts(self._prompts or prompts, warden, SqlThings(database, "prompt"))
        self.mcp = GuardedMcpServers(self._servers or servers, warden, SqlThings(database, "mcp"))

    async def run(self) -> None:
        """Keep the copies as Nacos has them, until cancelled; without Nacos there is nothing to do."""
        if self._prompts is not None and self._servers is not None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._prompts.run())
                tasks.create_task(self._servers.run())
