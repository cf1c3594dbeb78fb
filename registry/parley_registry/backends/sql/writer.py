"""Group commit: whatever waits when the last transaction returns goes into the next one together (no timers)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from parley_core.errors import Unavailable
from parley_registry.backends.sql.transaction import Transaction

T = TypeVar("T")
Work = Callable[[Transaction], Any]

_MOST = 64


class Writer:
    """Gives this process's changes to `commit`, which runs a function as one transaction. A refusal of one does not touch
    its neighbours: the batch is undone, and each is run again alone."""

    def __init__(self, commit: Callable[[Work], Awaitable[Any]]) -> None:
        self._commit = commit
        self._pending: list[tuple[Work, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """The result of `work`, committed; what it raises."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append((work, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="registry-writer")
        return await future

    async def close(self) -> None:
        """Finish what is pending."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:_MOST], self._pending[_MOST:]
            try:
                if len(batch) == 1 or not await self._together(batch):
                    for work, future in batch:
                        await self._alone(work, future)
            finally:
                for _, future in batch:
                    if not future.done():
                        future.cancel()

    async def _together(self, batch: list[tuple[Work, "asyncio.Future[Any]"]]) -> bool:
        try:
            results = await self._commit(lambda db: [work(db) for work, _ in batch])
        except Unavailable as error:
            for _, future in batch:
                _fail(future, error)
        except Exception:  # noqa: BLE001 - whose it is shows when each runs alone
            return False
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        return True

    async def _alone(self, work: Work, future: "asyncio.Future[Any]") -> None:
        try:
            result = await self._commit(work)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for it
            _fail(future, error)
        else:
            if not future.done():
                future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
