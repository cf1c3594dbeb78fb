"""Who waits for changes: one look at the record serves every watcher, on this process and for changes made by others."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from parley_core.errors import Unavailable
from parley_registry.entry import Change
from parley_registry.errors import RegistryBusy
from parley_registry.record import Record

_logger = logging.getLogger(__name__)

_BATCH = 500
_KEPT = 8_000
"""Changes kept here, so that a watcher that is a little behind costs the record nothing."""
_TOLD_A_SECOND = 2_000
"""Watchers told in a second: with many of them, changes that follow closely are told together, so that telling leaves
most of a processor to other work."""
QUIET = 5.0
"""Seconds."""

Wanted = Callable[[Change], bool]


class Feed:
    """The change log as streams. Watchers pull, so a slow one costs a cursor and nothing else."""

    def __init__(self, record: Record, *, most: int, poll: float = 0.2) -> None:
        self._record = record
        self._most = most
        self._poll = poll
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._watchers = 0
        self._ticks = 0
        self._tail: list[Change] = []
        self._last = -1
        record.listen(self.poke)

    @property
    def watchers(self) -> int:
        """Streams open now."""
        return self._watchers

    def poke(self) -> None:
        """Look at once: this process has just changed something, or another says that it has."""
        self._hurry.set()

    async def run(self) -> None:
        """Look for changes until cancelled; at least every `poll` seconds."""
        ticked = time.monotonic()
        while True:
            self._hurry.clear()
            try:
                changed = await self._look()
            except Unavailable as error:
                _logger.warning("cannot look for changes: %s", error)
                changed = False
            if time.monotonic() - ticked >= QUIET:
                ticked, changed = time.monotonic(), True
                self._ticks += 1
            if changed:
                self._news.set()
                self._news = asyncio.Event()
                await asyncio.sleep(self._watchers / _TOLD_A_SECOND)
            try:
                async with asyncio.timeout(self._poll):
                    await self._hurry.wait()
            except TimeoutError:
                continue

    async def next_news(self) -> None:
        """Return when something changed after this call was made."""
        await self._news.wait()

    async def follow(self, after: int | None) -> AsyncGenerator[Change, None]:
        """The changes of `batches`, one by one."""
        async with aclosing(self.batches(after)) as batches:
            async for batch in batches:
                for change in batch:
                    yield change

    async def batches(
        self, after: int | None, wanted: Wanted = lambda _: True
    ) -> AsyncGenerator[list[Change], None]:
        """Changes after `after` (None: from now on) that are `wanted`, for ever, those that came together at once; first of
        all a "start" with the seq it starts from. Every QUIET seconds a batch, be it empty, says that the stream lives.

        Raises RegistryBusy when too many watch already, before anything is given.
        """
        if self._watchers >= self._most:
            raise RegistryBusy(
                f"{self._most} watches are open, more are not served; close one or try again later"
            )
        self._watchers += 1
        try:
            seq = await self._record.last_change() if after is None else after
            yield [Change(seq, "start", "", "", "")]
            fresh, ticks = True, self._ticks
            while True:
                news = self._news
                batch = None if fresh else self._after(seq)
                fresh = False
                if batch is None:
                    read = await self._record.changes(seq, _BATCH)
                    batch = [Change(read.last, "reset", "", "", "")] if read.missed else list(read.changes)
                seq = batch[-1].seq if batch else seq
                told = [change for change in batch if change.kind == "reset" or wanted(change)]
                if told or self._ticks != ticks:
                    ticks = self._ticks
                    yield told
                if not batch:
                    await news.wait()
        finally:
            self._watchers -= 1

    async def _look(self) -> bool:
        """Read what is new; whether there was anything."""
        if self._last < 0:
            self._last = await self._record.last_change()
            return True
        changed = False
        while await self._record.last_change() != self._last:
            changed = True
            read = await self._record.changes(self._last, _BATCH)
            if read.missed:
                self._tail, self._last = [], read.last
            else:
                self._tail += read.changes
                self._last = self._tail[-1].seq if read.changes else self._last
            if len(self._tail) > 2 * _KEPT:
                del self._tail[:-_KEPT]
        return changed

    def _after(self, seq: int) -> list[Change] | None:
        """The changes after that number, as far as they are kept here; None when only the record knows."""
        if seq >= self._last >= 0:
            return []
        # The numbers follow each other without a gap.
        if not self._tail or seq < self._tail[0].seq - 1:
            return None
        start = seq - self._tail[0].seq + 1
        return self._tail[start : start + _BATCH]
