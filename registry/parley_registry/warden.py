"""Stands before every change: who may make it, whose the name is, and what is noted of those who may not."""

import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from parley_core.errors import ParleyError
from parley_registry.audit import Actor, Audited
from parley_registry.entry import Agent
from parley_registry.errors import NotOwner, NotPermitted, SignatureRequired, UnknownAgent
from parley_registry.record import Record
from parley_registry.rights import Rights

_logger = logging.getLogger(__name__)

_AGAIN = 60.0
"""Seconds in which the same refusal is noted once, for a host that is refused tries again and again."""
_OWNER_KNOWN = 10.0
"""Seconds for which an owner is known without asking the record, for heartbeats come often."""
_REMEMBERED = 50_000


class Warden:
    """Judges the calls of one service process by `rights` and by the owners in the record."""

    def __init__(self, record: Record, rights: Rights) -> None:
        self._record = record
        self._rights = rights
        self._noted: dict[tuple[str, str, Agent], float] = {}
        self._owners: dict[Agent, tuple[float, str]] = {}

    @asynccontextmanager
    async def change(self, action: str, agent: Agent, version: str = "") -> AsyncIterator[Actor]:
        """The caller as the one who makes a change in the block, and gives the record its name. A refusal, also one by
        the block, goes into the audit trail.

        Raises NotPermitted.
        """
        try:
            yield self._rights.actor(agent)
        except (NotPermitted, NotOwner, SignatureRequired) as error:
            await self._note(action, agent, version, error.summary)
            raise

    async def require_free(self, agent: Agent, actor: Actor) -> None:
        """Refuse a reserved name to who takes it first. Raises NotPermitted."""
        if not actor.name or actor.admin or not self._rights.is_reserved(agent.name):
            return
        if await self._record.owner(agent) is None:
            raise NotPermitted(
                f"{agent.name!r} is a reserved name, or can be taken for one; an admin may take it and hand it over"
            )

    async def require_owner(self, agent: Agent) -> None:
        """Refuse who may not change the agent as its owner or an admin; for what is noted nowhere because it comes often.

        Raises NotPermitted, NotOwner.
        """
        actor = self._rights.actor(agent)
        if not actor.name or actor.admin:
            return
        for known in (True, False):
            owner = await self._owner(agent, known=known)
            if owner in ("", actor.name):
                return
        raise NotOwner(f"{agent.name} belongs to another owner, who alone says what becomes of its instances")

    async def require_reader(self, namespace: str, name: str) -> None:
        """Refuse who may not read a name's trail ("" for all): only its owner and admins may.

        Raises NotPermitted.
        """
        if self._rights.reads_trail(namespace, name):
            return
        if name:
            actor = self._rights.suspect()
            if await self._owner(Agent(namespace, name), known=False) == actor.name:
                return
        whose = f"{namespace or '*'}/{name or '*'}"
        raise NotPermitted(
            f"the trail of {whose} is for its owner and for those with the right admin:{whose}; "
            "name an agent that you own, or have the right added to your token"
        )

    async def transfer(self, agent: Agent, owner: str) -> None:
        """See `RegistryClient.transfer`."""
        async with self.change("owner", agent) as actor:
            if not await self._record.set_owner(agent, owner, actor=actor):
                raise UnknownAgent(f"there is no agent {agent.name!r} in the namespace {agent.namespace!r}")
        self._owners.pop(agent, None)

    async def trail(
        self, namespace: str, name: str, by: str, action: str, before: int | None, limit: int
    ) -> Sequence[Audited]:
        """See `RegistryClient.trail`."""
        await self.require_reader(namespace, name)
        agent = Agent(namespace, name) if name else None
        return await self._record.audit(
            agent=agent, namespace=namespace, by=by, action=action, before=before, limit=limit
        )

    async def _owner(self, agent: Agent, *, known: bool) -> str:
        now = time.monotonic()
        if known and (found := self._owners.get(agent)) is not None and found[0] > now:
            return found[1]
        owner = await self._record.owner(agent)
        if len(self._owners) >= _REMEMBERED:
            self._owners.clear()
        self._owners[agent] = (now + _OWNER_KNOWN, owner or "")
        return self._owners[agent][1]

    async def _note(self, action: str, agent: Agent, version: str, why: str) -> None:
        actor = self._rights.suspect()
        now = time.monotonic()
        what = (actor.name, action, agent)
        if now - self._noted.get(what, -_AGAIN) < _AGAIN:
            return
        if len(self._noted) >= _REMEMBERED:
            self._noted.clear()
        self._noted[what] = now
        _logger.warning("refused %s of %s/%s to %s: %s", action, *agent, actor.name or "a caller", why)
        try:
            await self._record.note(actor, "refused", agent, version, detail=f"{action}: {why}"[:1000])
        except ParleyError as error:
            _logger.warning("the refusal could not be noted: %s", error)
