"""LISTEN and NOTIFY on connections of their own: what processes of one agent tell each other through the database.

Nothing told is kept: who was not connected does not hear it. So whenever a channel begins to be heard, first or again,
its listener is called with None: look for yourself.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

import asyncpg

from parley_runtime.stores.postgres.connection import GONE, Address, connect

log = logging.getLogger(__name__)

LONGEST = 7900
"""Bytes that one notification may carry (PostgreSQL's limit is 8000)."""
_RETRIES = (0.1, 0.25, 0.5, 1.0, 2.0)
_PULSE = 5.0
"""Seconds between looks whether a silent connection still lives."""
_STATEMENT = "SELECT pg_notify(c, p) FROM unnest($1::text[], $2::text[]) AS u(c, p)"
_MOST = 500

Heard = Callable[[str | None], None]


class Listener:
    """Hears any number of channels over one connection, which is made again when it is lost."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._heard: dict[str, Heard] = {}
        self._active: set[str] = set()
        self._connection: Any = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to hear."""
        self._task = asyncio.create_task(self._run(), name="store:listen")

    async def close(self) -> None:
        """Hear no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._connection is not None:
            self._connection.terminate()

    @property
    def connected(self) -> bool:
        """Whether it hears anything now."""
        return self._connection is not None

    def on(self, channel: str, heard: Heard) -> bool:
        """Call `heard` with what is told on a channel. Whether that holds already; else it is called with None once it
        does."""
        self._heard[channel] = heard
        if channel not in self._active:
            self._changed.set()
            return False
        return True

    def off(self, channel: str) -> None:
        """Hear a channel no more."""
        self._heard.pop(channel, None)
        self._changed.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                if self._connection is None:
                    self._connection = await connect(self._address, "listen")
                    self._connection.add_termination_listener(lambda _: self._changed.set())
                    failures = 0
                await self._agree()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PULSE):
                        await self._changed.wait()
                if not self._changed.is_set():
                    await self._connection.execute("SELECT 1", timeout=_PULSE)
                elif self._connection.is_closed():
                    raise asyncpg.InterfaceError("the connection was closed")
            except (*GONE, asyncpg.PostgresError) as error:
                if failures == 0:
                    log.warning("notifications are not heard: %s; trying again", type(error).__name__)
                if self._connection is not None:
                    self._connection.terminate()
                self._connection = None
                self._active.clear()
                await asyncio.sleep(_RETRIES[min(failures, len(_RETRIES) - 1)])
                failures += 1

    async def _agree(self) -> None:
        """Have the connection listen to just what is wanted."""
        self._changed.clear()
        for channel in [c for c in self._heard if c not in self._active]:
            await self._connection.add_listener(channel, self._told)
            self._active.add(channel)
            if channel in self._heard:
                self._heard[channel](None)
        for channel in [c for c in self._active if c not in self._heard]:
            self._active.discard(channel)  # first: who wants it again meanwhile is to have it added again
            await self._connection.remove_listener(channel, self._told)

    def _told(self, _: Any, __: int, channel: str, payload: str) -> None:
        heard = self._heard.get(channel)
        if heard is not None:
            heard(payload)


class Notifier:
    """Tells channels, in order, all that is pending at once. What cannot be told is dropped: listeners look by
    themselves when they hear nothing."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Any = None
        self._pending: list[tuple[str, str]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Begin to tell."""
        self._task = asyncio.create_task(self._run(), name="store:notify")

    async def close(self) -> None:
        """Tell what is pending, then stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await self._task
        if self._connection is not None:
            self._connection.terminate()

    def tell(self, channel: str, payloads: Iterable[str]) -> None:
        """Tell a channel, soon."""
        self._pending.extend((channel, payload) for payload in payloads)
        self._wake.set()

    async def _run(self) -> None:
        while not (self._closing and not self._pending):
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch, self._pending = self._pending[:_MOST], self._pending[_MOST:]
                try:
                    if self._connection is None:
                        # Its commits need not be on disk: what a crash of the database loses, nobody hears anyway.
                        self._connection = await connect(self._address, "notify", lasting=False)
                    await self._connection.execute(
                        _STATEMENT, *map(list, zip(*batch, strict=True)), timeout=3
                    )
                except (*GONE, asyncpg.PostgresError) as error:
                    log.debug("%d notifications are lost: %s", len(batch), type(error).__name__)
                    if self._connection is not None:
                        self._connection.terminate()
                    self._connection = None
                    self._pending.clear()
                    await asyncio.sleep(_RETRIES[0])
