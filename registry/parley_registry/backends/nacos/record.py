"""`record.Record` in Nacos. Nacos is the truth; what is served, logged and searched is a copy of it in a database.

Changes made here go to Nacos first and are in the copy when the call returns. Changes made by others are pushed by
Nacos, or found by looking (see `nacos.changes`), and then read and brought over. With Nacos away the copy is served,
and says how old it is; changes are refused. External agents are kept here alone. How an instance is told to be alive:
by Nacos, for which a host's own connection counts; a host that speaks to this registry only is announced in Nacos by the
process that it beats to.
"""

import asyncio
import logging

from parley_core.errors import ParleyError
from parley_registry.audit import NOBODY, Actor
from parley_registry.backends.nacos.announcing import Announced
from parley_registry.backends.nacos.copied import Copied
from parley_registry.backends.nacos.following import Following
from parley_registry.backends.nacos.fresh import Fresh
from parley_registry.backends.sql.mirror import SqlMirror
from parley_registry.card import CheckedCard
from parley_registry.entry import Agent, Instance, Key
from parley_registry.errors import BadRequest, Fault, RegistryBusy
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.catalogues import announce_catalogue
from parley_registry.nacos.layout import nacos_name
from parley_registry.nacos.missing import HELD
from parley_registry.nacos.removal import remove
from parley_registry.nacos.server import Nacos
from parley_registry.record import Freshness, Published, Stored
from parley_registry.rollout import Rollout, content_text

_logger = logging.getLogger(__name__)

_TICK = 1.0
_AT_ONCE = 16
"""Changes sent to Nacos at once; more only make each of them slower, until they time out."""


class NacosRecord(Copied):
    """The agents of the namespaces of `address`, with the copy in the database at `store`.

    What is served counts as stale `stale_after` seconds after it was last known to be the same; agents that vanish from
    Nacos together are kept for `held` seconds (see `nacos.missing`). `public_url` is where this registry is found by those
    who look for it in Nacos.
    """

    def __init__(
        self,
        address: NacosAddress,
        store: str,
        *,
        stale_after: float = 15.0,
        held: float = HELD,
        public_url: str = "",
        keep: int = 10_000,
    ) -> None:
        self.nacos = Nacos(address)
        super().__init__(SqlMirror(store, keep=keep))
        self._public_url = public_url
        self._announced = Announced(self.nacos)
        self._followed = {
            namespace: Following(self.nacos, self._copy, namespace, read=self._announced.published, held=held)
            for namespace in address.namespaces
        }
        self._fresh = Fresh(
            self.nacos.connection, self._copy, self._followed.values(), stale_after=stale_after
        )
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    @property
    def faulty(self) -> int:
        """Versions of others that are shown although their cards break this registry's rules."""
        return sum(len(one.faulty) for one in self._followed.values())

    # -- life
    async def open(self) -> None:
        """See `Record.open`; does not wait for Nacos."""
        await self._copy.open()
        await self._fresh.open()
        self.nacos.open()
        self._task = asyncio.create_task(self._run(), name="registry-nacos")

    async def close(self) -> None:
        """See `Record.close`. Instances announced from here are gone from Nacos then."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.nacos.aclose()
        await self._copy.close()

    async def freshness(self) -> Freshness:
        """See `Record.freshness`; its age is infinite while the two were never the same."""
        return self._fresh.now()

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
        for entry in await self._copy.load([key]):
            return Published(entry, created)
        raise RegistryBusy(f"{key.name} {key.version} was deleted while it was published; publish it again")

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
            kept = version is None and await self._copy.owner(agent) is not None
            async with self._gate:
                done = await remove(self.nacos, agent, version) or kept
            await followed.bring(nacos_name(agent.name), by=actor, deleted=agent.name if done else "")
        for one in going if done else ():
            if version in (None, one.version):
                await self._announced.forget(one.key)
                await self._copy.note(actor, "delete", agent, one.version, before=one.digest)
        return done

    # -- health
    async def heartbeat(self, key: Key, instance_id: str) -> bool:
        """See `Record.heartbeat`. One that another process announced, which may be gone, is announced from here too; one whose
        version is not in Nacos any more is to publish it again."""
        known = self._announced.beat(key, instance_id)
        if known is not None:
            return known
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

    # -- rollouts

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

    # -- in the background
    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for followed in self._followed.values():
                tasks.create_task(followed.run())
            if self._public_url:
                tasks.create_task(self._announce())
            while True:
                await asyncio.sleep(_TICK)
                await self._fresh.note()

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
