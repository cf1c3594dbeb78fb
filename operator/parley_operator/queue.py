"""Keys that wait to be looked at: each at most once, later ones in time, failing ones ever more seldom."""

import asyncio
import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

from parley_operator.kube.backoff import Backoff
from parley_operator.metrics import QUEUE_DEPTH

T = TypeVar("T", bound=Hashable)


class WorkQueue(Generic[T]):
    """A queue in which a key stands once, and which gives no key to two workers at a time: one that is added while it is
    worked on comes again afterwards."""

    def __init__(self, *, first: float = 0.5, most: float = 60.0) -> None:
        self._first, self._most = first, most
        self._ready: dict[T, None] = {}
        self._working: set[T] = set()
        self._again: set[T] = set()
        self._due: dict[T, float] = {}
        self._heap: list[tuple[float, int, T]] = []
        self._count = itertools.count()
        self._failures: dict[T, Backoff] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: T) -> None:
        """Have the key taken as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = None
            self._wake.set()
        QUEUE_DEPTH.set(len(self._ready))

    def add_later(self, key: T, seconds: float) -> None:
        """Have it taken in so many seconds, or sooner if it is so due or added already."""
        if key in self._ready or key in self._again:
            return
        at = asyncio.get_running_loop().time() + max(0.0, seconds)
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            heapq.heappush(self._heap, (at, next(self._count), key))
            self._wake.set()

    def failed(self, key: T) -> float:
        """It went wrong: have it taken again after a pause, the seconds of which come back."""
        pause = self._failures.setdefault(key, Backoff(self._first, self._most)).next()
        self.add_later(key, pause)
        return pause

    def succeeded(self, key: T) -> None:
        """It went well: the next failure's pause is the shortest again."""
        self._failures.pop(key, None)

    async def take(self) -> T:
        """The next key; `done` must follow."""
        while True:
            self._move_due()
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                self._working.add(key)
                QUEUE_DEPTH.set(len(self._ready))
                if self._ready:
                    self._wake.set()
                return key
            self._wake.clear()
            wait = self._heap[0][0] - asyncio.get_running_loop().time() if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                pass  # something is due

    def done(self, key: T) -> None:
        """The worker is through with it."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def clear(self) -> None:
        """Forget everything but what is being worked on."""
        self._ready.clear()
        self._again.clear()
        self._due.clear()
        self._heap.clear()
        self._failures.clear()
        QUEUE_DEPTH.set(0)

    def _move_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:  # else it has been added since, or is due sooner
                self.add(key)
