"""The sweeper: puts right what queues, buses and dead workers left behind."""

import asyncio
import logging

from parley_core.errors import Unavailable
from parley_runtime import metrics
from parley_runtime.bus import Bus
from parley_runtime.store import (
    Store,
)

log = logging.getLogger(__name__)


class Sweeper:
    """Every `interval` seconds frees the work of lost workers and tells the worker of work that nobody took."""

    def __init__(self, store: Store, bus: Bus, agent: str, interval: float) -> None:
        self._store = store
        self._bus = bus
        self._agent = agent
        self._interval = interval

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                freed = await self._store.sweep()
                if freed:
                    log.warning("took %d tasks back from workers that are gone", freed)
                state = await self._store.queue_state()
                metrics.QUEUE_DEPTH.labels(self._agent).set(state.waiting)
                metrics.QUEUE_AGE.labels(self._agent).set(state.oldest)
                metrics.RUNNING.labels(self._agent).set(state.running)
                if state.waiting:
                    self._bus.work_added()
            except Unavailable as error:
                log.warning("cannot sweep: %s", error)
            await asyncio.sleep(self._interval)
