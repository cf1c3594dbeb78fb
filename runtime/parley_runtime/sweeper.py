"""The sweeper: puts right what queues, buses, dead workers and time left behind."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable

from parley_core.errors import Unavailable
from parley_runtime import metrics
from parley_runtime.bus import Bus
from parley_runtime.execution import expire
from parley_runtime.queue import Queue
from parley_runtime.store import HIGHEST, LOWEST, Store

log = logging.getLogger(__name__)

_LATE = 4
"""Intervals after which a round is so late that this process, and others with it, must have stood still."""
_HOLD = 6
"""Rounds from then to the next sweep: workers renew their leases every second one."""
_EXPIRED = 64
"""Entries that are failed together …"""
_BATCHES = 16
"""… and so many times a round."""
_RETAIN = 60.0
"""Seconds between looks for what need not be kept any more; while there is some, a bit goes each round."""


class Sweeper:
    """Every `interval` seconds frees the work of lost workers and has it announced again, fails what waited beyond its
    deadline, and lets go of what ended more than `retain_events` and `retain_tasks` seconds ago."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        queue: Queue,
        *,
        worker: str,
        agent: str,
        version: str,
        interval: float,
        retain_events: float,
        retain_tasks: float,
        pushed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._bus = bus
        self._queue = queue
        self._worker = worker
        self._version = version
        self._agent = agent
        self._interval = interval
        self._retain = (min(retain_events, retain_tasks), retain_tasks)
        self._pushed = pushed
        self._last = 0.0
        self._hold = 0
        self._away = False
        self._retain_at = time.monotonic() + random.uniform(0, _RETAIN)  # not all processes at once

    async def run(self) -> None:
        """Sweep until cancelled."""
        self._last = time.time()
        while True:
            try:
                freed = 0 if self._unsure() else await self._store.sweep()
                if freed:
                    log.warning("took %d tasks back from workers that are gone", freed)
                    self._queue.announce(self._version, freed)
                await self._expire()
                await self._measure()
                await self._let_go()
                if self._away:
                    log.info("the store is back; sweeping again")
                self._away = False
            except Unavailable as error:
                if not self._away:
                    log.warning("cannot sweep: %s", error)
                    self._unknown()
                self._away = True
            await asyncio.sleep(self._interval)

    async def _expire(self) -> None:
        for _ in range(_BATCHES):
            expired = await self._store.take_expired(self._worker, _EXPIRED)
            failing = [expire(self._store, self._bus, work, self._agent, self._pushed) for work in expired]
            for outcome in await asyncio.gather(*failing, return_exceptions=True):
                if isinstance(outcome, Unavailable):
                    log.warning("a task beyond its deadline is failed later: %s", outcome)
                elif isinstance(outcome, BaseException):
                    raise outcome
            if len(expired) < _EXPIRED:
                break

    async def _measure(self) -> None:
        state = await self._store.queue_state()
        metrics.QUEUE_DEPTH.labels(self._agent).set(state.waiting)
        metrics.QUEUE_AGE.labels(self._agent).set(state.oldest)
        metrics.RUNNING.labels(self._agent).set(state.running)
        metrics.QUOTA.labels(self._agent).set(math.nan if state.quota is None else state.quota)
        metrics.STORE_UP.labels(self._agent).set(1)
        for priority in range(LOWEST, HIGHEST + 1):
            metrics.WAITING.labels(self._agent, priority).set(state.by_priority.get(priority, 0))

    def _unknown(self) -> None:
        """What the store cannot be asked for is not to look like what it last said."""
        metrics.STORE_UP.labels(self._agent).set(0)
        for gauge in (metrics.QUEUE_DEPTH, metrics.QUEUE_AGE, metrics.RUNNING, metrics.QUOTA):
            gauge.labels(self._agent).set(math.nan)
        for priority in range(LOWEST, HIGHEST + 1):
            metrics.WAITING.labels(self._agent, priority).set(math.nan)

    async def _let_go(self) -> None:
        if time.monotonic() >= self._retain_at and not await self._store.retain(*self._retain):
            self._retain_at = time.monotonic() + random.uniform(_RETAIN / 2, _RETAIN)

    def _unsure(self) -> bool:
        """Whether the clock was set or the machine slept a moment ago: then leases look run out whose workers live."""
        now = time.time()
        gap, self._last = now - self._last, now
        if not 0 <= gap <= _LATE * self._interval:
            log.info("the clock moved by %.1f s between two rounds; not sweeping for a moment", gap)
            self._hold = _HOLD
        self._hold = max(0, self._hold - 1)
        return self._hold > 0
