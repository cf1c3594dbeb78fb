"""What Nacos does not list any more although it is known: deleted there, or lost.

One thing that is gone was deleted. Several that are gone at once may mean that Nacos came back empty, with an old backup, or
that its address names another cluster: these are not given up before Nacos has been without them for some time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

HELD = 60.0
"""Seconds for which things that vanished together are kept."""
_EVERY = 1.0
"""Seconds for which a look holds for what is missing already."""


class Missing(Generic[K]):
    """The things of one namespace, called `what` in messages.

    `known` and `listed` are asked what the copy has, and what Nacos lists; they may raise. Things are known to be there
    again, or gone for good, by `settled`.
    """

    def __init__(
        self,
        what: str,
        known: Callable[[], Awaitable[Collection[K]]],
        listed: Callable[[], Awaitable[Collection[K]]],
        *,
        held: float = HELD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.why = ""
        """Why what is served is not what Nacos says, "" while all of it is."""
        self._what = what
        self._known = known
        self._listed = listed
        self._held = held
        self._clock = clock
        self._since: dict[K, float] = {}
        self._looked = float("-inf")
        self._turn = asyncio.Lock()

    async def is_gone(self, one: K) -> bool:
        """Whether something that Nacos was just found to be without is to be taken for deleted."""
        async with self._turn:
            if one not in self._since or self._clock() - self._looked >= _EVERY:
                await self._look(one)
            since = self._since.get(one)
            return since is None or self._clock() - since >= self._held

    def settled(self, one: K) -> None:
        """It is there again, or not kept any more."""
        if self._since.pop(one, None) is not None and not self._since:
            log.info("%s: the copy is as Nacos says again", self._what)
            self.why = ""

    async def _look(self, one: K) -> None:
        known, listed = await self._known(), await self._listed()
        now = self._looked = self._clock()
        missing = {other for other in known if other not in listed or other == one}
        before = self._since
        self._since = {other: since for other, since in before.items() if other in missing}
        if len(missing) > 1:
            self._since |= {other: before.get(other, now) for other in missing}
        if not self._since:
            self.why = ""
            return
        there = len(known) - len(self._since)
        self.why = f"Nacos lists {there if there > 0 else 'none'} of {len(known)} known {self._what}"
        if not before:
            log.warning(
                "%s; they are kept, and what is served counts as stale, until that has been so for %g s",
                self.why,
                self._held,
            )
