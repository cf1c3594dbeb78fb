"""What is on its way out, by session: in order within a session, side by side between sessions, never held by a timer."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from parley_runtime.bus import Wake

_MOST_SESSIONS, _MOST_PENDING = 10_000, 1000
"""Sessions, and publishes of one, that may wait to be sent."""

Item = tuple[str, Wake]
"""The task's id, and what was published of it."""


class Lanes:
    """`send` gets all that waits of one session; what comes meanwhile waits until it has returned."""

    def __init__(self, send: Callable[[str, Sequence[Item]], Awaitable[None]]) -> None:
        self._send = send
        self._waiting: dict[str, deque[Item]] = {}
        self._flying: dict[str, Sequence[Item]] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._empty = asyncio.Event()
        self._empty.set()

    def offer(self, context_id: str, item: Item) -> bool:
        """Take it to be sent; False: too much waits already."""
        lane = self._waiting.get(context_id)
        if lane is None:
            if len(self._waiting) >= _MOST_SESSIONS:
                return False
            lane = self._waiting[context_id] = deque()
            self._ready.put_nowait(context_id)
            self._empty.clear()
        elif len(lane) >= _MOST_PENDING:
            return False
        lane.append(item)
        return True

    def take_back(self) -> list[tuple[str, Sequence[Item]]]:
        """All that was taken and has not surely been sent; what is being sent is still tried."""
        back = list(self._flying.items())
        for context_id, lane in self._waiting.items():
            back.append((context_id, list(lane)))
            lane.clear()
        return back

    async def emptied(self) -> None:
        """Return when nothing waits and nothing is being sent."""
        await self._empty.wait()

    async def run(self) -> None:
        """Send one session after the other until cancelled; several of these run side by side."""
        while True:
            context_id = await self._ready.get()
            lane = self._waiting[context_id]
            items = self._flying[context_id] = list(lane)
            lane.clear()
            try:
                if items:
                    await self._send(context_id, items)
            finally:
                del self._flying[context_id]
                if lane:
                    self._ready.put_nowait(context_id)
                else:
                    del self._waiting[context_id]
                if not self._waiting:
                    self._empty.set()


def joined(items: Sequence[Item]) -> list[Item]:
    """The same with fewer publishes: what one task said in a row goes together."""
    out: list[Item] = []
    for task_id, wake in items:
        if out and out[-1][0] == task_id and wake.events and out[-1][1].events:
            out[-1] = (task_id, Wake([*out[-1][1].events, *wake.events], wake.task))
        else:
            out.append((task_id, wake))
    return out
