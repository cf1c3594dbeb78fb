"""What a process does for its store now and then, and what it knows between: limits, clock, and what it has on lease."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

import orjson

from parley_core.errors import Unavailable
from parley_runtime.store import Limits, Work
from parley_runtime.stores.postgres import leasing
from parley_runtime.stores.postgres import statements as sql
from parley_runtime.stores.postgres.connection import Pool

log = logging.getLogger(__name__)

_EVERY = 0.5
_LOOK_FOR_UNHEARD = 5.0
_UNHEARD = 20.0
"""Seconds after which what is leased to this process without its knowing is given back (longer than a statement takes)."""


class Upkeep:
    """Learns the limits, folds the counts of the depth, keeps the clock, and gives back what was leased to `worker` by a
    statement whose answer never came."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.limits = Limits()
        """The agent's limits as they were a moment ago."""
        self.worker = ""
        """Who takes work in this process, once somebody does."""
        self._clock = self._clock_kept = 0.0
        self._known: dict[str, tuple[int, float]] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Learn the limits, and begin. Raises Unavailable."""
        async with self._pool.session() as c:
            await self._look(c)
        self._task = asyncio.create_task(self._keep(), name="store:upkeep")

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def heard_of(self, leased: Sequence[Work]) -> None:
        """This process knows of these leases."""
        self._known.update({work.task_id: (work.epoch, time.monotonic()) for work in leased})

    def reached(self, rank: float) -> None:
        """Work of this rank was taken: newcomers of tenants that had none wait no shorter."""
        self._clock = max(self._clock, rank)

    async def _look(self, c: Any) -> None:
        limits, clock = await c.fetchrow(sql.LIMITS)
        if limits is not None:
            self.limits = Limits(**orjson.loads(limits))
        self._clock = max(self._clock, clock)

    async def _keep(self) -> None:
        unheard_at = time.monotonic() + _UNHEARD
        while True:
            await asyncio.sleep(_EVERY)
            try:
                async with self._pool.session() as c:
                    await self._look(c)
                    await c.execute(sql.FOLD)
                    if self._clock > self._clock_kept:
                        self._clock_kept = self._clock
                        await c.execute(sql.CLOCK, self._clock)
                if self.worker and time.monotonic() >= unheard_at:
                    unheard_at = time.monotonic() + _LOOK_FOR_UNHEARD
                    await self.give_back_unheard()
            except Unavailable:
                log.debug("the store's upkeep has to wait: it does not answer")
            except Exception:  # without it limits are not learned, and what is counted is never folded
                log.exception("the store's upkeep failed; it is tried again")

    async def give_back_unheard(self) -> None:
        """Give back what has been on lease to `worker` for long without its knowing."""
        now = time.monotonic()
        async with self._pool.session() as c:
            held = {
                task_id: (epoch, long)
                for task_id, epoch, long in await c.fetch(sql.HELD_LONG, self.worker, _UNHEARD)
            }
        # By the epoch: a task that this worker ran before may be leased to it again without its knowing.
        unheard = [
            task_id
            for task_id, (epoch, long) in held.items()
            if long and self._known.get(task_id, (0, 0.0))[0] != epoch
        ]
        if unheard:
            log.warning("giving back %d tasks that were leased to this worker unheard", len(unheard))
            async with self._pool.transaction() as c:
                await leasing.free(c, unheard, self.worker)
        for task_id in [t for t, (_, at) in self._known.items() if t not in held and now - at > _UNHEARD]:
            del self._known[task_id]
