"""What a record in Nacos has in its copy alone: all that is read, external agents, owners, the audit trail and the log."""

from collections.abc import Callable, Sequence

from parley_registry.audit import NOBODY, Actor, Audited
from parley_registry.backends.sql.database import Database
from parley_registry.backends.sql.mirror import SqlMirror
from parley_registry.entry import Agent, Health, Key
from parley_registry.record import Changes, Source, Stored
from parley_registry.rollout import Rollout


class Copied:
    """The part of `record.Record` that a copy answers, Nacos being there or not."""

    def __init__(self, copy: SqlMirror) -> None:
        self._copy = copy

    @property
    def database(self) -> Database:
        """That of the copy."""
        return self._copy.database

    async def ping(self) -> None:
        """See `Record.ping`."""
        await self._copy.ping()

    def listen(self, heard: Callable[[], None]) -> None:
        """See `Record.listen`."""
        self._copy.listen(heard)

    async def load(self, keys: Sequence[Key]) -> Sequence[Stored]:
        """See `Record.load`."""
        return await self._copy.load(keys)

    async def latest(self, agent: Agent) -> Stored | None:
        """See `Record.latest`."""
        return await self._copy.latest(agent)

    async def versions(self, agent: Agent) -> Sequence[Stored]:
        """See `Record.versions`."""
        return await self._copy.versions(agent)

    async def page(self, after: Key | None, limit: int) -> Sequence[Stored]:
        """See `Record.page`."""
        return await self._copy.page(after, limit)

    async def retell(self, keys: Sequence[Key]) -> None:
        """See `Record.retell`."""
        await self._copy.retell(keys)

    async def claim_sources(self, every: float, limit: int) -> Sequence[Source]:
        """See `Record.claim_sources`."""
        return await self._copy.claim_sources(every, limit)

    async def mark_source(self, source: Source, health: Health) -> None:
        """See `Record.mark_source`."""
        await self._copy.mark_source(source, health)

    async def rollout(self, agent: Agent) -> Rollout:
        """See `Record.rollout`."""
        return await self._copy.rollout(agent)

    async def owner(self, agent: Agent) -> str | None:
        """See `Record.owner`."""
        return await self._copy.owner(agent)

    async def set_owner(self, agent: Agent, owner: str, *, actor: Actor = NOBODY) -> bool:
        """See `Record.set_owner`."""
        return await self._copy.set_owner(agent, owner, actor=actor)

    async def note(
        self,
        actor: Actor,
        action: str,
        agent: Agent,
        version: str = "",
        *,
        before: str = "",
        after: str = "",
        detail: str = "",
    ) -> None:
        """See `Record.note`."""
        await self._copy.note(actor, action, agent, version, before=before, after=after, detail=detail)

    async def audit(
        self,
        *,
        agent: Agent | None = None,
        namespace: str = "",
        by: str = "",
        action: str = "",
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Audited]:
        """See `Record.audit`."""
        return await self._copy.audit(
            agent=agent, namespace=namespace, by=by, action=action, before=before, limit=limit
        )

    async def forget_audited(self, seconds: float) -> int:
        """See `Record.forget_audited`."""
        return await self._copy.forget_audited(seconds)

    async def changes(self, after: int, limit: int) -> Changes:
        """See `Record.changes`."""
        return await self._copy.changes(after, limit)

    async def last_change(self) -> int:
        """See `Record.last_change`."""
        return await self._copy.last_change()
