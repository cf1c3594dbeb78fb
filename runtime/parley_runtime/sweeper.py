"""The sweeper: puts right what queues, buses and dead workers left behind."""

import asyncio
import logging
import time

from parley_core.errors import Unavailable
from parley_runtime import metrics
from parley_runtime.queue import Queue
from parley_runtime.store import (
    Store,
)

log = logging.getLogger(__name__)

_LATE = 4
"""Intervals after which a round is so late that this process, and others with it, must have stood still."""
_HOLD = 6
"""Rounds from then to the next sweep: workers renew their leases every second one."""


class Sweeper:
    """Every `interval` seconds frees the work of lost workers and has it announced again."""

    def __init__(self, store: Store, queue: Queue, agent: str, version: str, interval: float) -> None:
        self._store = store
        self._queue = queue
        self._version = version
        self._agent = agent
        self._interval = interval
        self._last = 0.0
        self._hold = 0

    async def run(self) -> None:
        """Sweep until cancelled."""
        self._last = time.time()
        while True:
            try:
                freed = 0 if self._unsure() else await self._store.sweep()
                if freed:
                    log.warning("took %d tasks back from workers that are gone", freed)
                    self._queue.announce(self._version, freed)
                state = await self._store.queue_state()
                metrics.QUEUE_DEPTH.labels(self._agent).set(state.waiting)
                metrics.QUEUE_AGE.labels(self._agent).set(state.oldest)
                metrics.RUNNING.labels(self._agent).set(state.running)
            except Unavailable as error:
                log.warning("cannot sweep: %s", error)
            await asyncio.sleep(self._interval)

    def _unsure(self) -> bool:
        """Whether the clock was set or the machine slept a moment ago: then leases look run out whose workers live."""
        now = time.time()
        gap, self._last = now - self._last, now
        if not 0 <= gap <= _LATE * self._interval:
            log.info("the clock moved by %.1f s between two rounds; not sweeping for a moment", gap)
            self._hold = _HOLD
        self._hold = max(0, self._hold - 1)
        return self._hold > 0
