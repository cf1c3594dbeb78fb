"""The readers of one process: every bus has these, and adds its own way to hear of other processes."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator

from parley_runtime.bus import Take, Wake
from parley_runtime.store import LoggedEvent

_HELD, _HELD_BYTES = 256, 1 << 20
"""Events, and bytes of them, that a slow reader may have waiting; beyond it hears only that there is more."""


class Readers:
    """Ears by task."""

    def __init__(self, gone: Callable[[str], None] = lambda _: None) -> None:
        """`gone` is called when the last ear of a task is closed."""
        self._ears: dict[str, list[Ear]] = defaultdict(list)
        self._gone = gone

    def __bool__(self) -> bool:
        return bool(self._ears)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._ears

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._ears))

    def add(self, task_id: str) -> "Ear":
        """A new ear on a task."""
        ear = Ear(self, task_id)
        self._ears[task_id].append(ear)
        return ear

    def tell(self, task_id: str, wake: Wake) -> None:
        """Wake the task's ears, if it has any."""
        for ear in self._ears.get(task_id, ()):
            ear.hear(wake)

    def drop(self, task_id: str, ear: "Ear") -> None:
        ears = self._ears.get(task_id, [])
        if ear in ears:
            ears.remove(ear)
        if not ears:
            self._ears.pop(task_id, None)
            self._gone(task_id)


class Ear:
    """See parley_runtime.bus.Subscription."""

    __slots__ = (
        "_bytes",
        "_due",
        "_held",
        "_lost",
        "_readers",
        "_take",
        "_task",
        "_task_id",
        "_timer",
        "_waiter",
    )

    def __init__(self, readers: Readers, task_id: str) -> None:
        self._readers = readers
        self._task_id = task_id
        self._held: list[LoggedEvent] = []
        self._bytes = 0
        self._task = Wake().task
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._take: Take | None = None
        # A timer is left to ring and wound up again then, if it was too early: setting one for each event costs more.
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def hear(self, wake: Wake) -> None:
        waiter = self._waiter
        if self._take is not None and waiter is not None and not waiter.done() and (more := self._take(wake)):
            self._wait(more, waiter.get_loop())
            return
        if not self._lost:
            self._held.extend(wake.events)
            self._bytes += sum([len(event.body) for event in wake.events])
            self._task = wake.task
        many = len(self._held) > _HELD or (self._bytes > _HELD_BYTES and len(self._held) > 1)
        if many or not wake.events:
            self._held, self._bytes, self._task, self._lost = [], 0, None, True
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def next(self, timeout: float, take: Take | None = None) -> Wake | None:
        if not self._held and not self._lost:
            loop = asyncio.get_running_loop()
            self._waiter, self._take = loop.create_future(), take
            self._wait(timeout, loop)
            try:
                await self._waiter
            finally:
                self._waiter = self._take = None
            if not self._held and not self._lost:
                return None
        wake = Wake() if self._lost else Wake(self._held, self._task)
        self._held, self._bytes, self._task, self._lost = [], 0, None, False
        return wake

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._readers.drop(self._task_id, self)

    def _wait(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._wind(loop)

    def _wind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        loop = self._waiter.get_loop()
        if loop.time() < self._due:
            self._wind(loop)
        else:
            self._waiter.set_result(None)
