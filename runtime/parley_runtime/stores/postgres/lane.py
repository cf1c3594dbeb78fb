"""A connection that works off one kind of thing, all that is pending at once.

Whatever is pending when the last statement returns goes with the next (natural batching, no timers). One bad item does
not fail its neighbours: they are done again, each alone.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

import asyncpg

from parley_core.errors import Unavailable
from parley_runtime.stores.postgres.connection import AGAIN, GONE, Address, away, connect

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
Run = Callable[[Any, Sequence[Item], bool], Awaitable[Sequence["Result | BaseException | None"]]]
"""What is done with a batch on a connection: a result or an error for each item, or None for one that is to be tried
again. The flag says that an earlier try may have been committed after all."""

_MAX_BATCH = 256
"""Items, or what they weigh together: within a statement rows are matched by going through all of them."""
_RETRIES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
_MOST_TRIES = 1000


class Lane(Generic[Item, Result]):
    """See the module. `patience`: seconds for which an item is tried while the database is away; then its future has
    Unavailable. `key`: items of one key never share a batch, and keep their order."""

    def __init__(
        self,
        address: Address,
        name: str,
        run: "Run[Item, Result]",
        *,
        key: Callable[[Item], Hashable],
        patience: float,
        size: Callable[[Item], int] = lambda _: 1,
    ) -> None:
        self._address = address
        self._name = name
        self._do = run
        self._key = key
        self._patience = patience
        self._size = size
        self._connection: Any = None
        self._pending: list[tuple[Item, asyncio.Future[Result]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Connect, and begin. Raises what connecting raises."""
        self._connection = await connect(self._address, self._name, hot=True)
        self._task = asyncio.create_task(self._work(), name=f"store:{self._name}")

    async def close(self) -> None:
        """Finish what is pending, then disconnect."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience + 5):
                    await self._task
        self._drop()

    def submit(self, item: Item) -> "asyncio.Future[Result]":
        """Have an item done; the future has its result once that is committed."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._closing:
            future.set_exception(Unavailable("the store is closed; this process is stopping"))
            return future
        self._pending.append((item, future))
        self._wake.set()
        return future

    async def _work(self) -> None:
        while True:
            if not self._pending:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = self._next()
            await self._settle(batch)

    def _next(self) -> "list[tuple[Item, asyncio.Future[Result]]]":
        pending, self._pending = self._pending, []
        if len(pending) == 1:
            return pending
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        seen: set[Hashable] = set()
        room = _MAX_BATCH
        for piece in pending:
            key = self._key(piece[0])
            if key in seen or room <= 0:
                self._pending.append(piece)
            else:
                batch.append(piece)
                room -= self._size(piece[0])
            seen.add(key)
        return batch

    async def _settle(self, batch: "list[tuple[Item, asyncio.Future[Result]]]") -> None:
        items = [item for item, _ in batch]
        try:
            results = await self._attempt(items)
        except Unavailable as error:
            return _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whose fault it is shows when each runs alone
            if len(batch) == 1:
                return _fail(batch, error)
            for piece in batch:
                await self._settle([piece])
            return
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)  # type: ignore[arg-type]

    async def _attempt(self, items: Sequence[Item]) -> "Sequence[Result | BaseException | None]":
        """Results of all, trying again what must be. Raises Unavailable when the patience is over."""
        results: list[Result | BaseException | None] = [None] * len(items)
        left = list(range(len(items)))
        unsure, failures, until = False, 0, time.monotonic() + self._patience
        for _ in range(_MOST_TRIES):
            try:
                if self._connection is None:
                    self._connection = await connect(self._address, self._name, hot=True)
                found = await self._do(self._connection, [items[n] for n in left], unsure)
            except AGAIN:
                found = [None] * len(left)
            except (*GONE, asyncpg.InsufficientResourcesError) as error:
                unsure = unsure or self._connection is not None
                self._drop()
                if failures == 0:
                    log.warning("the store does not answer (%s: %s)", self._name, type(error).__name__)
                pause = _RETRIES[min(failures, len(_RETRIES) - 1)]
                failures += 1
                if time.monotonic() + pause >= until or self._closing:
                    raise away(error) from error
                await asyncio.sleep(pause)
                continue
            for n, result in zip(left, found, strict=True):
                results[n] = result
            left = [n for n in left if results[n] is None]
            if not left:
                return results
            if time.monotonic() >= until:
                break
        raise Unavailable("the store is too busy with the same tasks; try again")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _fail(batch: "list[tuple[Item, asyncio.Future[Result]]]", error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
