"""Which version a context begins on: the agent's rollout table as a host knows it. And when a version has drained, a host says
so in the table: any of them, so that it is said whoever dies."""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from contextlib import aclosing

from parley_core.errors import ParleyError, Unavailable
from parley_registry.client import Registry, Rollout, RolloutConflict, shifting
from parley_runtime import metrics
from parley_runtime.store import Store

log = logging.getLogger(__name__)

_AGAIN = 0.5
"""Seconds after which a watch that was refused is tried again (the registry may not know the agent yet)."""
_COUNT = 1.0
"""Seconds between looks for work that nobody does."""
_SETTLED = 3.0
"""Seconds after which no host that hears the registry gives a new context to a version that was made to drain."""
_MOVING = (0.0, 1.0, 3.0, 6.0)
"""Seconds between the moves of what is open of versions that became Inactive: who has not heard of it begins contexts there."""
_LOOK, _SELDOM = 2.0, 15.0
"""Seconds between looks whether what drains has drained: at first, and when it takes long."""


class RolloutTable:
    """The table of one agent in a host of its version `own`: what the registry said last, told to the store as well. While
    the registry is away it stays as it is; a host that starts meanwhile has what the store was told."""

    def __init__(self, agent: str, own: str, store: Store) -> None:
        self._agent = agent
        self._own = own
        self._store = store
        self._rollout = Rollout("", agent)
        self._unhosted: Mapping[str, int] = {}
        self._shown: set[str] = set()
        self._inactive: dict[str, str] = {}
        self._moves = asyncio.Event()

    def choose(self, context_id: str) -> str:
        """The version that a new context begins on; this host's own without a table."""
        return self._rollout.choose(context_id) or self._own

    def status(self) -> str:
        """ "" while all that waits has somebody to do it; else how much waits of versions that no worker hosts."""
        return ", ".join(
            f"{count} {'entry waits' if count == 1 else 'entries wait'} for {version}, which no worker hosts"
            for version, count in sorted(self._unhosted.items())
        )

    async def open(self) -> None:
        """Begin with what the store was told last. Raises Unavailable."""
        self._rollout = Rollout("", self._agent, tuple(await self._store.rollout()))
        self._see_inactive(self._rollout)

    async def run(self, registry: Registry | None) -> None:
        """Follow the registry's table, and count what waits in vain, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())
            group.create_task(self._move())
            if registry is not None:
                group.create_task(self._follow(registry))
                group.create_task(self._mark_drained(registry))

    async def _follow(self, registry: Registry) -> None:
        said = ""
        while True:
            try:
                async with aclosing(registry.watch_rollouts(self._agent)) as tables:
                    async for table in tables:
                        said = ""
                        await self._learn(table)
            except ParleyError as error:
                if str(error) != said:
                    log.warning("the rollout table of %s stays as it is: %s", self._agent, error)
                said = str(error)
            await asyncio.sleep(_AGAIN)

    async def _learn(self, table: Rollout) -> None:
        if table.versions != self._rollout.versions:
            log.info("new contexts of %s begin on %s", self._agent, _shares(table) or self._own)
        self._rollout = table
        while True:
            try:
                if tuple(await self._store.rollout()) != table.versions:
                    await self._store.set_rollout(table.versions)
                return self._see_inactive(table)
            except Unavailable as error:
                log.warning("the store has not been told of the rollout table: %s", error)
                await asyncio.sleep(_AGAIN)

    def _see_inactive(self, table: Rollout) -> None:
        before = self._inactive
        self._inactive = {
            one.version: table.current for one in table.versions if one.state == "Inactive" and table.current
        }
        if self._inactive.items() - before.items():
            self._moves.set()

    async def _move(self) -> None:
        """Have the current version go on with all that had begun on versions that are Inactive."""
        while True:
            await self._moves.wait()
            self._moves.clear()
            for pause in _MOVING:
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                for version, to in tuple(self._inactive.items()):
                    await self._moved(version, to)

    async def _moved(self, version: str, to: str) -> None:
        while self._inactive.get(version) == to:
            try:
                if count := await self._store.move(version, to):
                    log.info("%d open tasks of %s go on with %s", count, version, to)
                return
            except Unavailable as error:
                log.warning("what is open of %s has not been moved to %s yet: %s", version, to, error)
                await asyncio.sleep(_AGAIN)

    async def _mark_drained(self, registry: Registry) -> None:
        """See that versions of which nothing is open any more are Drained in the table. Who is late finds it done: a table
        is only replaced by who has seen the last one."""
        seen: dict[str, float] = {}
        pause, said = _LOOK, ""
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            table, now = self._rollout, time.monotonic()
            draining = [one.version for one in table.versions if one.state == "Draining"]
            news = any(version not in seen for version in draining)
            seen = {version: seen.get(version, now) for version in draining}
            pause = _LOOK if news or not draining else min(pause * 1.2, _SELDOM)
            if not table.revision or not any(now - since >= _SETTLED for since in seen.values()):
                continue
            try:
                going = {one.version for one in await self._store.figures(0.0) if one.open}
                going |= {version for version, since in seen.items() if now - since < _SETTLED}
                drained = shifting.drained(table, going.__contains__)
                if drained != table:
                    await registry.set_rollout(drained, table.revision)
                    log.info("drained: %s", ", ".join(sorted(seen.keys() - going)))
            except RolloutConflict:
                log.debug("the rollout table was changed meanwhile; it is looked at again")
            except ParleyError as error:
                if str(error) != said:
                    log.warning("whether a version has drained cannot be told: %s", error)
                said = str(error)

    async def _count(self) -> None:
        while True:
            try:
                self._unhosted = await self._store.unhosted()
                for version in self._shown | self._unhosted.keys():
                    metrics.UNHOSTED.labels(self._agent, version).set(self._unhosted.get(version, 0))
                self._shown |= self._unhosted.keys()
            except Unavailable:
                log.debug("work that nobody does is not counted: the store does not answer")
            await asyncio.sleep(_COUNT)


def _shares(table: Rollout) -> str:
    return ", ".join(f"{one.version} ({one.weight:g} %)" for one in table.versions if one.weight)
