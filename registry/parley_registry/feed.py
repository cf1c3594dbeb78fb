"""Who waits for changes: one look at the record serves every watcher, on this process and for changes made by others."""

import asyncio
import logging
from collections.abc import AsyncGenerator

from parley_core.errors import Unavailable
from parley_registry.entry import Change
from parley_registry.errors import RegistryBusy
from parley_registry.record import Record

_logger = logging.getLogger(__name__)

_BATCH = 200


class Feed:
    """The change log as streams. Watchers pull, so a slow one costs a cursor and nothing else."""

    def __init__(self, record: Record, *, most: int, poll: float = 0.2) -> None:
        self._record = record
        self._most = most
        self._poll = poll
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._watchers = 0

    @property
    def watchers(self) -> int:
        """Streams open now."""
        return self._watchers

    def poke(self) -> None:
        """Look at once: this process has just changed something."""
        self._hurry.set()

    async def run(self) -> None:
        """Look for changes until cancelled; at least every `poll` seconds."""
        last = -1
        while True:
            try:
                now = await self._record.last_change()
            except Unavailable as error:
                _logger.warning("cannot look for changes: %s", error)
                now = last
            if now != last:
                last = now
                self._news.set()
                self._news = asyncio.Event()
            try:
                async with asyncio.timeout(self._poll):
                    await self._hurry.wait()
            except TimeoutError:
                continue
            self._hurry.clear()

    async def next_news(self) -> None:
        """Return when something changed after this call was made."""
        await self._news.wait()

    async def follow(self, after: int | None) -> AsyncGenerator[Change, None]:
        """Changes after `after` (None: from now on), for ever; first of all a "start" with the seq it starts from.

        Raises RegistryBusy when too many watch already, before anything is given.
        """
        if self._watchers >= self._most:
            raise RegistryBusy(
                f"{self._most} watches are open, more are not served; close one or try again later"
            )
        self._watchers += 1
        try:
            seq = await self._record.last_change() if after is None else after
            yield Change(seq, "start", "", "", "")
            while True:
                news = self._news
                read = await self._record.changes(seq, _BATCH)
                if read.missed:
                    seq = read.last
                    yield Change(seq, "reset", "", "", "")
                for change in read.changes if not read.missed else ():
                    seq = change.seq
                    yield change
                if not read.changes:
                    await news.wait()
        finally:
            self._watchers -= 1
