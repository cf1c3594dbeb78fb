"""LISTEN on a connection of its own: what other processes on the same schema tell of their changes.

What is told while nobody is connected is lost, so whenever it begins to hear, first or again, it calls as well.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

_logger = logging.getLogger(__name__)

_RETRIES = (0.1, 0.25, 0.5, 1.0, 2.0)
_PULSE = 5.0
"""Seconds between looks whether a silent connection still lives."""


class Listener:
    """Hears one channel over a connection that is made again when it is lost."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], channel: str) -> None:
        self.channel = channel
        self._connect = connect
        self._heard: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    def on(self, heard: Callable[[], None]) -> None:
        """Call `heard` whenever something is told."""
        self._heard.append(heard)

    async def open(self) -> None:
        """Begin to hear."""
        self._task = asyncio.create_task(self._run(), name="registry-listen")

    async def close(self) -> None:
        """Hear no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                connection = await self._connect()
                try:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _, lost=lost: lost.set())
                    await connection.add_listener(self.channel, self._told)
                    failures = 0
                    self._tell()
                    while not lost.is_set():
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(_PULSE):
                                await lost.wait()
                        if not lost.is_set():
                            await connection.execute("SELECT 1", timeout=_PULSE)
                finally:
                    connection.terminate()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if failures == 0:
                    _logger.warning(
                        "changes of others are only polled for now: %s; trying again", type(error).__name__
                    )
                failures += 1
            await asyncio.sleep(_RETRIES[min(failures, len(_RETRIES) - 1)])

    def _told(self, *_: Any) -> None:
        self._tell()

    def _tell(self) -> None:
        for heard in self._heard:
            heard()
