"""Background loops with an owner: started together, stopped together, and never dead without a word."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

_PAUSE = 1.0


class Loops:
    """The loops of one object. One that raises is a fault of ours: it is said aloud, and the loop begins again."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, name: str, *loops: Callable[[], Awaitable[None]]) -> None:
        """Run these until `close`; a loop that returns is not begun again."""
        for loop in loops:
            self._tasks.append(asyncio.create_task(_again(loop), name=f"{name}:{loop.__name__}"))

    async def close(self) -> None:
        """Cancel all, and return when they have ended."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _again(loop: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await loop()
        except Exception:
            log.exception("a RocketMQ loop failed; it begins again")
            await asyncio.sleep(_PAUSE)
