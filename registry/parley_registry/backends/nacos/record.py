"""`record.Record` in Nacos. Nacos is the truth; what is served, logged and searched is a copy of it in a database.

Changes made here go to Nacos first and are in the copy when the call returns. Changes made by others are pushed by
Nacos, or found by looking (see `nacos.changes`), and then read and brought over. With Nacos away the copy is served,
and says how old it is; changes are refused. External agents are kept here alone. How an instance is told to be alive:
by Nacos, for which a host's own connection counts; a host that speaks to this registry only is announced in Nacos by the
process that it beats to.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from parley_core.errors import ParleyError
from parley_registry.audit import NOBODY, Actor, Audited
from parley_registry.backends.nacos.announcing import Announced
from parley_registry.backends.nacos.following import Following
from parley_registry.backends.sql.database import Database
from parley_registry.backends.sql.mirror import SqlMirror
from parley_registry.card import CheckedCard
from parley_registry.entry import Agent, Health, Instance, Key
from parley_registry.errors import BadRequest, Fault
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.catalogues import announce_catalogue
from parley_registry.nacos.layout import nacos_name
from parley_registry.nacos.removal import remove
from parley_registry.nacos.server import Nacos
from parley_registry.record import Changes, Freshness, Published, Source, Stored
from parley_registry.rollout import Rollout, content_text

_logger = logging.getLogger(__name__)

_TICK = 1.0
_AT_ONCE = 16
"""Changes sent to Nacos at once; more only make each of them slower, until they time out."""


class NacosRecord:
    """The agents of the namespaces of `address`, with the copy in the database at `store`.

    What is served counts as stale `stale_after` seconds after it was last known to be the same. `public_url` is where
    this registry is found by those who look for it in Nacos.
    """

    def __init__(
        self,
        address: NacosAddress,
        store: str,
        *,
        stale_after: float = 15.0,
        public_url: str = "",
        keep: int = 10_000,
    ) -> None:
        self.nacos = Nacos(address)
        self._copy = SqlMirror(store, keep=keep)
        self._stale_after = stale_after
        self._public_url = public_url
        self._announced = Announced(self.nacos)
        self._followed = {
            namespace: Following(self.nacos, self._copy, namespace) for namespace in address.namespaces
        }
        self._synced = dict.fromkeys(address.namespaces, 0.0)
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    @property
    def database(self) -> Database:
        """That of the copy."""
        return self._copy.database

    @property
    def faulty(self) -> int:
        """Versions of others that are shown although their cards break this registry's rules."""
        return sum(len(one.faulty) for one in self._followed.values())

    # -- life
    async def open(self) -> None:
        """See `Record.open`; does not wait for Nacos."""
        await self._copy.open()
        for namespace in self._followed:
            self._synced[namespace] = await self._copy.synced(namespace)
        self.nacos.open()
        self._task = asyncio.create_task(self._run(), name="registry-nacos")

    async def close(self) -> None:
        """See `Record.close`. Instances announced from here are gone from Nacos then."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.nacos.aclose()
        await self._copy.close()

    async def ping(self) -> None:
        """See `Record.ping`."""
        await self._copy.ping()

    def listen(self, heard: Callable[[], None]) -> None:
        """See `Record.listen`."""
        self._copy.listen(heard)

    async def freshness(self) -> Freshness:
        """See `Record.freshness`; its age is infinite while the two were never the same."""
        since = min(self._synced.values())
        age = max(time.time() - since, 0.0) if since else float("inf")
        if age <= self._stale_after:
            return Freshness(age, False, "")
        problem = "" if self.nacos.connection.live else str(self.nacos.connection.problem)
        reasons = (problem, *(one.why for one in self._followed.values()))
        return Freshness(age, True, next(filter(None, reasons), "Nacos is being looked through"))

    # -- the catalogue
    async def publish(
        self,
        checked: CheckedCard,
        *,
        namespace: str,
        instance: Instance | None,
        source: str,
        actor: Actor = NOBODY,
    ) -> Published:
        """See `Record.publish`."""
        key = Key(namespace, checked.card.name, checked.card.version)
        followed = self._of(key.agent)
        if source:
            return await self._copy.publish(
                checked, namespace=namespace, instance=instance, source=source, actor=actor
            )
        async with followed.lock(nacos_name(key.name)):
            await self._copy.admit(key.agent, actor)
            async with self._gate:
                created = await self.nacos.agents.publish(namespace, checked)
            if instance is not None:
                await self._announced.announce(key, instance, checked.interfaces)
            await followed.bring(nacos_name(key.name), by=actor)
        if created:
            who = instance.id if instance else ""
            told = {"after": checked.digest, "detail": who}
            await self._copy.note(actor, "publish", key.agent, key.version, **told)
        entry = (await self._copy.load([key]))[0]
        return Published(entry, created)

    async def load(self, keys: Sequence[Key]) -> Sequence[Stored]:
        """See `Record.load`."""
        return await self._copy.load(keys)

    async def latest(self, agent: Agent) -> Stored | None:
        """See `Record.latest`."""
        return await self._copy.latest(agent)

    async def versions(self, agent: Agent) -> Sequence[Stored]:
        """See `Record.versions`."""
        return await self._copy.versions(agent)

    async def set_latest(self, key: Key, *, actor: Actor = NOBODY) -> Stored | None:
        """See `Record.set_latest`."""
        if await self._copy.is_external(key.agent):
            return await self._copy.set_latest(key, actor=actor)
        followed = self._of(key.agent)
        async with followed.lock(nacos_name(key.name)):
            await self._copy.admit(key.agent, actor)
            before = await self._copy.latest(key.agent)
            async with self._gate:
                done = await self.nacos.agents.set_latest(*key)
            await followed.bring(nacos_name(key.name), by=actor)
        if not done:
            return None
        was = before.version if before else ""
        if was != key.version:
            await self._copy.note(actor, "latest", key.agent, key.version, before=was, after=key.version)
        return next(iter(await self._copy.load([key])), None)

    async def delete(self, agent: Agent, version: str | None, *, actor: Actor = NOBODY) -> bool:
        """See `Record.delete`."""
        if await self._copy.is_external(agent):
            return await self._copy.delete(agent, version, actor=actor)
        followed = self._of(agent)
        async with followed.lock(nacos_name(agent.name)):
            await self._copy.admit(agent, actor)
            going = await self._copy.versions(agent)
            async with self._gate:
                done = await remove(self.nacos, agent, version)
            await followed.bring(nacos_name(agent.name), by=actor)
        for one in going if done else ():
            if version in (None, one.version):
                await self._announced.forget(one.key)
                await self._copy.note(actor, "delete", agent, one.version, before=one.digest)
        return done

    async def page(self, after: Key | None, limit: int) -> Sequence[Stored]:
        """See `Record.page`."""
        return await self._copy.page(after, limit)

    async def retell(self, keys: Sequence[Key]) -> None:
        """See `Record.retell`."""
        await self._copy.retell(keys)

    # -- health
    async def heartbeat(self, key: Key, instance_id: str) -> bool:
        """See `Record.heartbeat`. One that another process announced, which may be gone, is announced from here too."""
        if self._announced.beat(key, instance_id):
            return True
        found = await self._copy.announced(key, instance_id)
        if found is None or key.namespace not in self._followed:
            return False
        await self._announced.announce(key, *found)
        return True

    async def withdraw(self, key: Key, instance_id: str) -> None:
        """See `Record.withdraw`. Nothing happens to one that does not speak to this process."""
        if await self._announced.withdraw(key, instance_id):
            await self._bring(key.agent)

    async def expire(self, seconds: float) -> int:
        """See `Record.expire`; of those that this process speaks for."""
        gone = await self._announced.expire(seconds)
        await asyncio.gather(*(self._bring(agent) for agent in {key.agent for key in gone}))
        return len(gone)

    async def claim_sources(self, every: float, limit: int) -> Sequence[Source]:
        """See `Record.claim_sources`."""
        return await self._copy.claim_sources(every, limit)

    async def mark_source(self, source: Source, health: Health) -> None:
        """See `Record.mark_source`."""
        await self._copy.mark_source(source, health)

    # -- rollouts
    async def rollout(self, agent: Agent) -> Rollout:
        """See `Record.rollout`."""
        return await self._copy.rollout(agent)

    async def set_rollout(
        self, rollout: Rollout, expected_revision: int, *, actor: Actor = NOBODY
    ) -> Rollout:
        """See `Record.set_rollout`."""
        agent = rollout.agent
        if await self._copy.is_external(agent):
            return await self._copy.set_rollout(rollout, expected_revision, actor=actor)
        followed = self._of(agent)
        async with followed.lock(nacos_name(agent.name)):
            await self._copy.admit(agent, actor)
            known = [one.version for one in await self._copy.versions(agent)]
            before = await self._copy.rollout(agent)
            kept = await self.nacos.rollouts.set(rollout, expected_revision, known)
            await followed.bring(nacos_name(agent.name), by=actor)
        if kept.revision != expected_revision:
            told = {"before": content_text(before), "after": content_text(kept)}
            await self._copy.note(actor, "rollout", agent, kept.current, **told)
        return kept

    # -- owners and the audit trail
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

    # -- the log
    async def changes(self, after: int, limit: int) -> Changes:
        """See `Record.changes`."""
        return await self._copy.changes(after, limit)

    async def last_change(self) -> int:
        """See `Record.last_change`."""
        return await self._copy.last_change()

    # -- in the background
    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for followed in self._followed.values():
                tasks.create_task(followed.run())
            if self._public_url:
                tasks.create_task(self._announce())
            while True:
                await asyncio.sleep(_TICK)
                for followed in self._followed.values():
                    await self._note_synced(followed)

    async def _note_synced(self, followed: Following) -> None:
        behind = followed.behind_since if self.nacos.connection.live else None
        try:
            if behind is not None:
                await self._copy.set_synced(followed.namespace, time.time() - (time.monotonic() - behind))
            # Another process may be in step while this one is not.
            self._synced[followed.namespace] = await self._copy.synced(followed.namespace)
        except ParleyError as error:
            _logger.warning("how fresh the copy of %s is cannot be noted: %s", followed.namespace, error)

    async def _announce(self) -> None:
        for namespace in self._followed:
            while True:
                try:
                    await announce_catalogue(self.nacos.naming, namespace, self._public_url)
                    break
                except ParleyError as error:
                    _logger.warning("this registry cannot be announced in Nacos: %s; trying again", error)
                    await asyncio.sleep(2.0)

    async def _bring(self, agent: Agent) -> None:
        followed, called = self._of(agent), nacos_name(agent.name)
        async with followed.lock(called):
            await followed.bring(called)

    def _of(self, agent: Agent) -> Following:
        if agent.namespace not in self._followed:
            raise BadRequest(
                f"this registry serves other namespaces of Nacos: {', '.join(self._followed)}",
                (Fault("namespace", f"{agent.namespace!r} is none of them"),),
            )
        return self._followed[agent.namespace]
