"""The bus of the embedded profile: this process's readers directly, other processes' by their commits on the file."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from parley_runtime.bus import Wake
from parley_runtime.store import (
    LoggedEvent,
)
from parley_runtime.stores.sqlite import SqliteStore

_HELD = 256
"""Events a slow reader may have waiting; beyond it hears only that there is more."""


class SqliteBus:
    """See `parley_runtime.store.Bus`."""

    def __init__(self, store: SqliteStore) -> None:
        self._readers: dict[str, list[_Ear]] = defaultdict(list)
        self._on_work: Callable[[], None] | None = None
        store.watch(self._others_committed, lambda: bool(self._readers))

    def publish(self, task_id: str, wake: Wake) -> None:
        for ear in self._readers.get(task_id, ()):
            ear.hear(wake)

    def subscribe(self, task_id: str) -> "_Ear":
        ear = _Ear(self, task_id)
        self._readers[task_id].append(ear)
        return ear

    def on_work(self, callback: Callable[[], None] | None) -> None:
        self._on_work = callback

    def work_added(self) -> None:
        if self._on_work is not None:
            self._on_work()

    def drop(self, task_id: str, ear: "_Ear") -> None:
        ears = self._readers.get(task_id, [])
        if ear in ears:
            ears.remove(ear)
        if not ears:
            self._readers.pop(task_id, None)

    def _others_committed(self, events: Sequence[tuple[str, LoggedEvent]]) -> None:
        batches: dict[str, list[LoggedEvent]] = defaultdict(list)
        for task_id, event in events:
            if task_id in self._readers:
                batches[task_id].append(event)
        for task_id, batch in batches.items():
            self.publish(task_id, Wake(batch))
        self.work_added()


class _Ear:
    __slots__ = ("_bus", "_held", "_lost", "_task", "_task_id", "_waiter")

    def __init__(self, bus: SqliteBus, task_id: str) -> None:
        self._bus = bus
        self._task_id = task_id
        self._held: list[LoggedEvent] = []
        self._task = Wake().task
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None

    def hear(self, wake: Wake) -> None:
        if len(self._held) + len(wake.events) > _HELD:
            self._held.clear()
            self._task, self._lost = None, True
        elif not self._lost:
            self._held.extend(wake.events)
            self._task = wake.task
        if not wake.events:
            self._lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self, timeout: float) -> Wake | None:
        if not self._held and not self._lost:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout, _expire, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
            if not self._held and not self._lost:
                return None
        wake = Wake() if self._lost else Wake(self._held, self._task)
        self._held, self._task, self._lost = [], None, False
        return wake

    def close(self) -> None:
        self._bus.drop(self._task_id, self)


def _expire(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
