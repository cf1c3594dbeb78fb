"""A thread with one SQLite connection: a lane that asyncio code sends work down and gets futures back from.

Whatever is pending when the last commit returns goes into the next transaction together (natural batching, no
timers). A failure in one piece of work does not touch its neighbours: the batch is undone and each piece is run
again in a transaction of its own.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from parley_core.errors import Unavailable
from parley_runtime.store import StoreError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

_MAX_BATCH = 512


class Lane:
    """Runs functions of a connection on a thread of its own, in order. `writes`: in transactions.

    `idle` is called on the thread between batches and at least every `tick()` seconds; it may use the connection.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        name: str,
        writes: bool,
        idle: Callable[[sqlite3.Connection], None] | None = None,
        tick: Callable[[], float] = lambda: 60.0,
    ) -> None:
        self._connection = connection
        self._writes = writes
        self._idle = idle
        self._tick = tick
        self._queue: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._closed = False
        self._thread.start()

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Run `work` with the connection; the future has its result once it is committed.

        `work` may be run twice (the first time undone), so it must have no other effect than on the database,
        and must raise StoreError only before it has written anything.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(Unavailable("the store is closed; this process is stopping"))
        else:
            self._queue.put((work, future))
        return future

    async def close(self) -> None:
        """Finish what was submitted, end the thread and close the connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        next_idle = 0.0
        while True:
            batch: list[tuple[Work, asyncio.Future[Any]]] = []
            stop = False
            try:
                item = self._queue.get(timeout=max(0.0, self._tick()))
                while item is not None:
                    batch.append(item)
                    if len(batch) >= _MAX_BATCH:
                        break
                    item = self._queue.get_nowait()
                stop = item is None
            except queue.Empty:
                pass
            if batch:
                self._deliver(self._together(batch))
            now = time.monotonic()
            if self._idle and (now >= next_idle or not batch):
                next_idle = now + self._tick()
                self._idle(self._connection)
            if stop:
                self._connection.close()
                return

    def _together(self, batch: list[tuple[Work, asyncio.Future[Any]]]) -> "list[_Outcome]":
        if not self._writes:
            return [self._alone(work, future) for work, future in batch]
        outcomes: list[_Outcome] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for work, future in batch:
                try:
                    outcomes.append((future, work(self._connection), None))
                except StoreError as refusal:
                    outcomes.append((future, None, refusal))
            self._connection.execute("COMMIT")
        except Exception:  # noqa: BLE001 - whose fault it is shows when each runs alone
            self._rollback()
            return [self._alone(work, future) for work, future in batch]
        return outcomes

    def _alone(self, work: Work, future: "asyncio.Future[Any]") -> "_Outcome":
        try:
            if self._writes:
                self._connection.execute("BEGIN IMMEDIATE")
            result = work(self._connection)
            if self._writes:
                self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._rollback()
            return future, None, Unavailable(f"the store does not answer ({error}); try again")
        except Exception as error:  # noqa: BLE001 - handed to whoever submitted it
            self._rollback()
            return future, None, error
        return future, result, None

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _deliver(self, outcomes: "list[_Outcome]") -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, outcomes)
        except RuntimeError:  # the loop is gone: nobody waits any more
            return


_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


def _settle(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
