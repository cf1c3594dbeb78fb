"""MCP servers that Nacos keeps: a copy in the database, looked after every few seconds, for Nacos pushes nothing of them."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from parley_core.errors import ParleyError
from parley_registry.errors import BadRequest, McpRejected, VersionConflict
from parley_registry.mcp.record import SqlMcpServers
from parley_registry.mcp.server import McpKey, McpRegistered, McpServer
from parley_registry.nacos.mcp import NacosMcp
from parley_registry.nacos.missing import Missing
from parley_registry.versions import becomes_latest, is_version

_logger = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two looks."""
_AT_ONCE = 8


class MirroredMcpServers:
    """What `library.McpLibrary` calls: reads the copy, changes Nacos first. Have `run` run."""

    def __init__(
        self, nacos: NacosMcp, copy: SqlMcpServers, namespaces: Sequence[str], changed: Callable[[], None]
    ) -> None:
        self._nacos = nacos
        self._copy = copy
        self._namespaces = tuple(namespaces)
        self._changed = changed
        self._refused: set[tuple[McpKey, str]] = set()
        self._missing = {namespace: self._missing_of(namespace) for namespace in self._namespaces}
        self._away = False

    async def versions(self, key: McpKey) -> list[McpServer]:
        """See `SqlMcpServers.versions`."""
        return await self._copy.versions(key)

    async def page(
        self, namespace: str, words: Sequence[str], after: McpKey | None, limit: int
    ) -> list[McpServer]:
        """See `SqlMcpServers.page`."""
        return await self._copy.page(namespace, words, after, limit)

    async def register(self, server: McpServer) -> McpRegistered:
        """See `SqlMcpServers.register`; raises McpRejected for what Nacos cannot hold."""
        self._mine(server.key)
        kept = {one.version: one for one in await self._copy.versions(server.key)}
        known = kept.get(server.version)
        if known is not None:
            if known.digest != server.digest:
                raise VersionConflict(
                    f"the MCP server {server.name} {server.version} is in Nacos with other content; raise the version "
                    "and register that"
                )
            return McpRegistered(known, False)
        latest = becomes_latest(server.version, [one for one in kept if is_version(one)])
        await self._nacos.put(server, new=not kept, latest=latest)
        await self._bring(server.key, (*kept, server.version))
        found = {one.version: one for one in await self._copy.versions(server.key)}
        return McpRegistered(found.get(server.version, server), True)

    async def delete(self, key: McpKey, version: str | None) -> bool:
        """See `SqlMcpServers.delete`; of several versions Nacos deletes all or none."""
        self._mine(key)
        kept = [one.version for one in await self._copy.versions(key)]
        if not kept or (version is not None and version not in kept):
            return False
        if version is not None and len(kept) > 1:
            raise BadRequest(
                f"Nacos deletes an MCP server with all its versions ({', '.join(kept)}); delete the whole server, or keep it"
            )
        await self._nacos.delete(key)
        await self._bring(key, ())
        return True

    async def run(self) -> None:
        """Look every EVERY seconds, until cancelled; what goes wrong is said once."""
        while True:
            try:
                for namespace in self._namespaces:
                    await self.look(namespace)
                if self._away:
                    self._away = False
                    _logger.info("the MCP servers are as Nacos has them again")
            except ParleyError as error:
                if not self._away:
                    self._away = True
                    _logger.warning("the MCP servers stay as Nacos had them last: %s", error)
            await asyncio.sleep(EVERY)

    async def look(self, namespace: str) -> None:
        """Bring the copy of a namespace up to date."""
        found = await self._listed(namespace)
        missing = self._missing[namespace]
        gone = [
            key for key in await self._known(namespace) if key not in found and await missing.is_gone(key)
        ]
        gate = asyncio.Semaphore(_AT_ONCE)

        async def bring(key: McpKey, versions: Sequence[str]) -> None:
            async with gate:
                await self._bring(key, versions)

        try:
            async with asyncio.TaskGroup() as tasks:
                for key in gone:
                    tasks.create_task(bring(key, ()))
                for key, versions in found.items():
                    tasks.create_task(bring(key, versions))
        except* ParleyError as failed:
            raise failed.exceptions[0] from None
        for key in (*gone, *found):
            missing.settled(key)

    def _missing_of(self, namespace: str) -> Missing[McpKey]:
        return Missing(
            f"MCP servers of {namespace}", lambda: self._known(namespace), lambda: self._listed(namespace)
        )

    async def _known(self, namespace: str) -> list[McpKey]:
        return [key for key in await self._copy.keys("nacos") if key.namespace == namespace]

    async def _listed(self, namespace: str) -> dict[McpKey, Sequence[str]]:
        return {
            McpKey(namespace, name): versions
            for name, versions in (await self._nacos.names(namespace)).items()
        }

    async def _bring(self, key: McpKey, versions: Sequence[str]) -> None:
        servers = []
        for version in versions:
            try:
                servers.append(await self._nacos.get(key, version, now=time.time()))
            except (McpRejected, BadRequest) as error:
                if (key, str(error)) not in self._refused:
                    self._refused.add((key, str(error)))
                    _logger.warning(
                        "the MCP server %s %s of Nacos is not shown: %s", key.name, version, error
                    )
        if await self._copy.copy(key, servers):
            self._changed()

    def _mine(self, key: McpKey) -> None:
        if key.namespace not in self._namespaces:
            raise BadRequest(
                f"this registry keeps the namespaces {', '.join(self._namespaces)} of Nacos; {key.namespace!r} is none of them"
            )
