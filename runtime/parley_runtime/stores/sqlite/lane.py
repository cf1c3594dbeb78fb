"""Work on SQLite connections from asyncio: it is submitted, and a future has its result.

Whatever is pending when the last commit returns goes into the next transaction together (natural batching, no
timers). A failure in one piece of work does not touch its neighbours: the batch is undone and each piece is run
again in a transaction of its own.
"""

import asyncio
import contextlib
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

    `idle` is called on the thread between batches and at least every `tick` seconds; it may use the connection.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        name: str,
        writes: bool,
        idle: Callable[[sqlite3.Connection], None] | None = None,
        tick: float = 60.0,
    ) -> None:
        self._connection = connection
        self._writes = writes
        self._idle = idle
        self._tick = tick
        self._queue: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
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
        self.put((work, future))
        return future

    def put(self, piece: "Piece") -> None:
        """`submit` with a future made elsewhere."""
        if self._closed:
            piece[1].set_exception(Unavailable("the store is closed; this process is stopping"))
        else:
            self._queue.put(piece)

    async def close(self) -> None:
        """Finish what was submitted, end the thread and close the connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        next_idle = 0.0
        stop = False
        while not stop:
            batch: list[Piece] = []
            try:
                item = self._queue.get(timeout=self._tick)
                while item is not None:
                    batch.append(item)
                    if len(batch) >= _MAX_BATCH:
                        break
                    item = self._queue.get_nowait()
                stop = item is None
            except queue.Empty:
                pass
            if batch:
                done = _together(self._connection, batch, patient=True) if self._writes else None
                self._deliver(done or [_alone(self._connection, piece, self._writes) for piece in batch])
            now = time.monotonic()
            if self._idle and now >= next_idle:
                next_idle = now + self._tick
                self._idle(self._connection)
        self._connection.close()

    def _deliver(self, outcomes: "list[Outcome]") -> None:
        try:
            self._loop.call_soon_threadsafe(settle, outcomes)
        except RuntimeError:  # the loop is gone: nobody waits any more
            return


class Writer:
    """Group commit, once a turn of the event loop and on its thread while nobody else holds the file.

    A commit costs a fraction of what handing it to another thread and back would. When another process is
    writing (`eager` must have no busy timeout, so that shows at once), the batch and those behind it go down the
    `patient` lane, whose thread can wait.
    """

    def __init__(self, eager: sqlite3.Connection, patient: Lane) -> None:
        self._eager = eager
        self._patient = patient
        self._loop = asyncio.get_running_loop()
        self._pending: list[Piece] = []
        self._waiting = 0
        self._closed = False

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Run `work` in the next group transaction, after everything submitted before (see `Lane.submit`)."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(Unavailable("the store is closed; this process is stopping"))
            return future
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append((work, future))
        return future

    def aside(self, work: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Run `work` in a transaction on the patient thread, out of order: for what takes long and is in no hurry."""
        return self._patient.submit(work)

    async def close(self) -> None:
        """Finish what was submitted and close."""
        self._flush()
        self._closed = True
        await self._patient.close()
        self._eager.close()

    def _flush(self) -> None:
        batch, self._pending = self._pending, []
        if not batch:
            return
        if not self._waiting:
            outcomes = _together(self._eager, batch)
            if outcomes is not None:
                return settle(outcomes)
        self._waiting += len(batch)
        for piece in batch:
            piece[1].add_done_callback(self._arrived)
            self._patient.put(piece)

    def _arrived(self, _: "asyncio.Future[Any]") -> None:
        self._waiting -= 1


Piece = tuple[Work, "asyncio.Future[Any]"]
Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


def _together(
    connection: sqlite3.Connection, batch: list[Piece], *, patient: bool = False
) -> list[Outcome] | None:
    """Run a batch as one transaction; None, and nothing done, when that did not work as a whole.

    `patient`: the connection has waited as long as it may, so a file that is held by another is everybody's answer.
    """
    outcomes: list[Outcome] = []
    try:
        connection.execute("BEGIN IMMEDIATE")
        for work, future in batch:
            try:
                outcomes.append((future, work(connection), None))
            except StoreError as refusal:
                outcomes.append((future, None, refusal))
        connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - whose fault it is shows when each runs alone
        _rollback(connection)
        if patient and isinstance(error, sqlite3.OperationalError) and _busy(error):
            return [(future, None, _away(error)) for _, future in batch]
        return None
    return outcomes


def _alone(connection: sqlite3.Connection, piece: Piece, writes: bool) -> Outcome:
    work, future = piece
    try:
        if writes:
            connection.execute("BEGIN IMMEDIATE")
        result = work(connection)
        if writes:
            connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        _rollback(connection)
        return future, None, _away(error)
    except Exception as error:  # noqa: BLE001 - handed to whoever submitted it
        _rollback(connection)
        return future, None, error
    return future, result, None


def _rollback(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):  # the next BEGIN says so again, to somebody who hears it
            connection.execute("ROLLBACK")


def _busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _away(error: sqlite3.OperationalError) -> Unavailable:
    return Unavailable(f"the store does not answer ({error}); try again")


def settle(outcomes: list[Outcome]) -> None:
    """Give futures their results (on the event loop)."""
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
