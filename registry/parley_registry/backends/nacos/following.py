"""Keeps the copy of one namespace of Nacos in step with it: what is told to have changed is read and brought over."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from weakref import WeakValueDictionary

from parley_core.errors import ParleyError
from parley_registry.audit import Actor
from parley_registry.backends.nacos.foreign import completed, faults_of
from parley_registry.backends.nacos.living import Living
from parley_registry.backends.sql.mirror import SqlMirror
from parley_registry.backends.sql.mirroring import Original
from parley_registry.entry import Agent, Instance, Key
from parley_registry.errors import RegistryBusy
from parley_registry.nacos.changes import AgentChanges
from parley_registry.nacos.held import HeldVersion
from parley_registry.nacos.layout import instance_of, interfaces_of, nacos_name
from parley_registry.nacos.missing import HELD, Missing
from parley_registry.nacos.server import Nacos

_logger = logging.getLogger(__name__)

_AT_ONCE = 8
_PAUSES = (0.2, 0.5, 1.0, 2.0)
_TRIES = 10


class Following:
    """One namespace. Have `run` run; `bring` makes an agent's copy be as Nacos says now.

    `read` is called with the versions that Nacos has of an agent, each time that is read. What vanished together is kept
    for `held` seconds, see `nacos.missing`.
    """

    def __init__(
        self,
        nacos: Nacos,
        copy: SqlMirror,
        namespace: str,
        *,
        read: Callable[[Agent, Collection[str]], None],
        held: float = HELD,
    ) -> None:
        self.namespace = namespace
        self.faulty: set[Key] = set()
        """Versions of others whose cards break this registry's rules; they are shown all the same."""
        self.why = ""
        """What went wrong last; "" when nothing did."""
        self._nacos = nacos
        self._copy = copy
        self._read = read
        self._missing = Missing(f"agents of {namespace}", self._known, self._listed, held=held)
        self._living = Living(nacos, self.tell)
        self._changes = AgentChanges(nacos.agents, nacos.configs, namespace, self.tell, self._compare)
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._open: dict[str, float] = {}
        self._doing: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._failures: defaultdict[str, int] = defaultdict(int)
        self._wake = asyncio.Event()
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def tell(self, called: str) -> None:
        """Bring this agent, by its name in Nacos, over as soon as can be."""
        self._told[called] = time.monotonic()
        self._open.setdefault(called, self._told[called])
        self._wake.set()

    @property
    def missing(self) -> str:
        """What is kept and served although Nacos does not list it, in words; "" when nothing is."""
        return self._missing.why

    @property
    def looked(self) -> bool:
        """Whether everything was looked at once."""
        return bool(self._changes.looked)

    @property
    def busy(self) -> bool:
        """Whether anything is still to be brought over."""
        return bool(self._open or self._doing)

    @property
    def behind_since(self) -> float | None:
        """The time (monotonic) since when something is not brought over yet: now when nothing is; None before everything
        was looked at once."""
        if not self._changes.looked:
            return None
        return min((*self._open.values(), *self._doing.values()), default=time.monotonic())

    def lock(self, called: str) -> asyncio.Lock:
        """Whoever changes an agent in Nacos and then brings it over holds this meanwhile."""
        return self._locks.setdefault(called, asyncio.Lock())

    async def run(self) -> None:
        """Follow until cancelled."""
        await self._remember()
        self._changes.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    for called in [one for one in self._open if one not in self._doing]:
                        self._doing[called] = self._open.pop(called)
                        tasks.create_task(self._work(called))
        finally:
            await self._changes.close()
            self._living.close()

    async def bring(self, called: str, *, by: Actor | None = None, deleted: str = "") -> bool:
        """Read an agent from Nacos and make its copy the same; whoever calls holds its `lock`. False when it is kept
        although Nacos has it no more.

        `by` is who had it changed through this registry, or has `deleted` the agent of that name. Raises RegistryUnavailable, NotOwner.
        """
        for _ in range(_TRIES):
            began, since = time.monotonic(), await self._copy.last_change()
            held = await self._nacos.agents.all_versions(self.namespace, called)
            names = {one.card.checked.card.name for one in held}
            done, kept = True, set[str]()
            for name in sorted(names | self._names.get(called, set()) | ({deleted} - {""})):
                agent = Agent(self.namespace, name)
                mine = [one for one in held if one.card.checked.card.name == name]
                self._read(agent, [one.version for one in mine])
                if mine or deleted or await self._missing.is_gone(agent):
                    who = by if mine or deleted else None
                    done = await self._bring_one(agent, mine, since, who) and done
                    self._missing.settled(agent)
                else:
                    await self._bring_living(agent, since)
                    kept.add(name)
            if done:
                self._names.pop(called, None)
                if names | kept:
                    self._names[called] = names | kept
                if not kept and self._told.get(called, began) < began:
                    del self._told[called]  # all of that is brought over now
                return not kept
        raise RegistryBusy(f"{called} changes too often to be brought over; it is tried again")

    async def _bring_one(self, agent: Agent, held: list[HeldVersion], since: int, by: Actor | None) -> bool:
        originals = []
        for one in held:
            card, alive = self._judge(Key(*agent, one.version), one), await self._alive(agent, one.version)
            originals.append(Original(one.version, card, one.card.checked.digest, one.latest, alive))
        rollout = await self._nacos.rollouts.get(agent)
        self._living.keep(agent, [one.version for one in held], has_table=rollout.revision > 0)
        if not held:
            self.faulty = {key for key in self.faulty if key.agent != agent}
        return await self._copy.mirror(agent, originals, rollout, since=since, by=by)

    async def _bring_living(self, agent: Agent, since: int) -> None:
        """Of an agent that is kept although Nacos has it no more: which instances live is as Nacos says all the same."""
        kept = await self._copy.versions(agent)
        originals = [
            Original(one.version, one.card, one.digest, one.latest, await self._alive(agent, one.version))
            for one in kept
        ]
        if originals and not any(one.source for one in kept):
            await self._copy.mirror(agent, originals, await self._copy.rollout(agent), since=since)

    async def _alive(self, agent: Agent, version: str) -> tuple[tuple[Instance, bytes], ...]:
        """The live instances of a version, and the interfaces that each announced."""
        endpoints = await self._living.endpoints(agent, version)
        found = {instance_of(one).id: one for one in endpoints if one.healthy}
        return tuple((instance_of(one), interfaces_of(one.metadata)) for one in found.values())

    async def _known(self) -> set[Agent]:
        return {agent for agent in await self._copy.agents() if agent.namespace == self.namespace}

    async def _listed(self) -> set[Agent]:
        listed = {called for called, _ in (await self._nacos.agents.listed(self.namespace)).values()}
        return {agent for agent in await self._known() if nacos_name(agent.name) in listed}

    async def _work(self, called: str) -> None:
        try:
            while not self._nacos.connection.live:
                self.why = str(self._nacos.connection.problem)
                await asyncio.sleep(_PAUSES[0])
            async with self._gate, self.lock(called):
                done = called not in self._told or await self.bring(called)
            self.why = ""
            if done:
                self._failures.pop(called, None)
            else:
                await self._again(called)
        except ParleyError as error:
            self.why = str(error)
            await self._again(called)
        except Exception:
            _logger.exception(
                "bringing %s over from Nacos failed by a fault of ours; it is tried again", called
            )
            self.why = f"the agent {called} cannot be brought over"
            await self._again(called)
        finally:
            del self._doing[called]
            self._wake.set()

    async def _again(self, called: str) -> None:
        pause = _PAUSES[min(self._failures[called], len(_PAUSES) - 1)]
        self._failures[called] += 1
        await asyncio.sleep(pause)
        self._open.setdefault(called, self._doing[called])

    async def _remember(self) -> None:
        """Know what the copy has of before."""
        while True:
            try:
                for agent in await self._known():
                    self._names[nacos_name(agent.name)].add(agent.name)
                return
            except ParleyError as error:
                self.why = str(error)
                await asyncio.sleep(_PAUSES[-1])

    def _compare(self, listed: Collection[str]) -> None:
        """What the copy has and Nacos does not: it went before this began, or was read once more while it went."""
        for called in self._names.keys() - set(listed):
            self.tell(called)

    def _judge(self, key: Key, held: HeldVersion) -> bytes:
        """The card to show, and note whether it breaks rules."""
        card = held.card.checked.json
        faults = () if held.card.exact else faults_of(card)
        if faults and key not in self.faulty:
            self.faulty.add(key)
            named = "; ".join(faults[:5])
            _logger.info("%s %s in Nacos is shown although its card breaks rules: %s", *key[1:], named)
        elif not faults:
            self.faulty.discard(key)
        return completed(card) if faults else card
