"""What is left of namespaces that were followed once and are not any more: nobody keeps those copies in step, so they go."""

import logging
import time
from collections.abc import Collection

from parley_registry.backends.sql.mirror import SqlMirror
from parley_registry.mcp.record import SqlMcpServers
from parley_registry.prompts.records.sql import SqlPrompts
from parley_registry.rollout import Rollout

_logger = logging.getLogger(__name__)

AFTER = 120.0
"""Seconds for which nobody has followed a namespace when its copies go: others on the same store may be about to end, and
their clocks may differ."""
_WHY = "its namespace is not followed any more"
_ALL = 1_000_000


class Left:
    """The copies in a database of namespaces of Nacos that are not among the `followed`. Only what was followed once goes:
    what else is in the database was never a copy."""

    def __init__(self, copy: SqlMirror, followed: Collection[str], *, after: float = AFTER) -> None:
        self._copy = copy
        self._followed = frozenset(followed)
        self._after = after

    async def look(self) -> None:
        """Let go of what there is now. External agents stay, and names keep their owners. Raises RegistryUnavailable."""
        before = time.time() - self._after
        for namespace in await self._copy.followed_before(before):
            if namespace in self._followed:
                continue
            gone = [agent for agent in await self._copy.agents() if agent.namespace == namespace]
            for agent in gone:
                since = await self._copy.last_change()
                if not await self._copy.mirror(agent, (), Rollout(*agent), since=since, why=_WHY):
                    return  # somebody changes it just now: it is looked at again
            prompts, servers = SqlPrompts(self._copy.database), SqlMcpServers(self._copy.database)
            for prompt in await prompts.page(namespace, (), None, _ALL):
                await prompts.forget(prompt.key)
            for key in await servers.keys("nacos"):
                if key.namespace == namespace:
                    await servers.copy(key, ())
            await self._copy.forget_synced(namespace, before)
            _logger.info(
                "%s is not followed any more: its %d agents are shown no longer", namespace, len(gone)
            )
