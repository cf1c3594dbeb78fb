"""The store on one SQLite file, shared by a few processes of one machine.

Writes are group-committed (see `lane.Writer`), reads have a thread and connection of their own. A second writing
thread waits where another process holds the file, renews this process's worker lease (so a blocked event loop does
not lose it) and keeps the write-ahead log short. Commits of other processes are noticed by `PRAGMA data_version`.
"""

import asyncio
import logging
import sqlite3
import time
from asyncio import Future
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from parley_core.database import connect, migrate, sqlite_path
from parley_registry.client import RolloutVersion, VersionFigures
from parley_runtime.store import (
    Accepted,
    Append,
    Appended,
    Limits,
    LoggedEvent,
    NewMessage,
    Parked,
    QueueState,
    Resident,
    StepRecord,
    StoredTask,
    Taken,
    TaskFilter,
    TaskPage,
    TaskTrace,
    Work,
)
from parley_runtime.stores.sqlite import reading, retention, scheduling, tables, versions, writing
from parley_runtime.stores.sqlite import statements as sql
from parley_runtime.stores.sqlite.lane import Lane, Writer

T = TypeVar("T")
log = logging.getLogger(__name__)

_POLL_BUSY = 0.005
_POLL_IDLE = 0.02
_IDLE_AFTER = 2.0
_ASIDE = 0.25

_PROBE = 10.0
"""Seconds between tries whether the file takes a write, for `ping`."""
_MARK = 0x5061726C
"""SQLite's application_id of our files. Writing it again is a write that changes nothing."""
_LOOKED_AT = 2000
"""New events of other processes read at once."""

_CHECKPOINT = 5.0
"""Seconds between copies of the write-ahead log into the file. The log begins anew after each, and the first commit then
waits for the disk on the event loop: often would be felt."""

ChangeListener = Callable[[Sequence[tuple[str, LoggedEvent | None]]], None]
"""Hears of commits by other processes, with their new events if anybody wants them; None: the task's work ended
without an event."""


class SqliteStore:
    """See `parley_runtime.store.Store` for what it promises. `url` is `sqlite:///path`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._path = sqlite_path(url)
        self._writer: Writer | None = None
        self._reader: Lane | None = None
        self._eager: sqlite3.Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poll: asyncio.TimerHandle | None = None
        self._lease: tuple[str, str, float] | None = None
        self._renew_at = 0.0
        self._checkpoint_at = 0.0
        self._listeners: list[ChangeListener] = []
        self._wants_events: Callable[[], bool] = lambda: False
        self._data_version = -1
        self._cursor = self._parked = 0
        self._behind = False
        self._probe_at = 0.0
        self._active_at = time.monotonic()

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        eager = await asyncio.to_thread(connect, self._path)
        await asyncio.to_thread(migrate, eager, tables.MIGRATIONS)
        eager.execute("PRAGMA busy_timeout=0")
        eager.execute(
            "PRAGMA wal_autocheckpoint=0"
        )  # a checkpoint waits for the disk; the other thread does it
        self._eager = eager
        self._skip(eager)
        patient = Lane(
            connect(self._path), name="parley-store-write", writes=True, idle=self._aside, tick=_ASIDE
        )
        self._writer = Writer(eager, patient)
        self._reader = Lane(connect(self._path, read_only=True), name="parley-store-read", writes=False)
        self._look()

    async def close(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
        for lane in (self._reader, self._writer):
            if lane is not None:
                await lane.close()

    def write(self, work: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Run `work` in the next group transaction; the future has its result once committed."""
        assert self._writer is not None, "the store is not open"
        return self._writer.submit(work)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Run `work` on the reading connection."""
        assert self._reader is not None, "the store is not open"
        return self._reader.submit(work)

    def watch(self, listener: ChangeListener, wants_events: Callable[[], bool] | None = None) -> None:
        """Call `listener` on the event loop after other processes committed: with their new events while
        `wants_events()` of the one who gave it, else with none."""
        self._wants_events = wants_events or self._wants_events
        self._listeners.append(listener)

    async def ping(self) -> None:
        await self.read(lambda c: c.execute("SELECT 1 FROM task LIMIT 1").fetchone())
        if time.monotonic() >= self._probe_at:
            await self.write(lambda c: c.execute(f"PRAGMA application_id={_MARK}").fetchone())
            self._probe_at = time.monotonic() + _PROBE

    async def move_in(self, me: Resident) -> Sequence[Resident]:
        return await self.write(lambda c: writing.move_in(c, me, time.time()))

    # -- accepting

    def accept(self, message: NewMessage, *, take_as: str = "") -> "Future[Accepted]":
        return self.write(lambda c: writing.accept(c, message, take_as, time.time()))

    async def request_cancel(self, task_id: str, owner: str, request: bytes, traceparent: str) -> bool:
        return await self.write(
            lambda c: writing.request_cancel(c, task_id, owner, request, traceparent, time.time())
        )

    # -- working

    async def register_worker(self, worker: str, version: str, lease_seconds: float) -> None:
        self._lease = (worker, version, lease_seconds)
        await self.write(lambda c: writing.renew(c, worker, version, lease_seconds))
        self._renew_at = time.monotonic() + lease_seconds / 3

    async def retire_worker(self, worker: str) -> int:
        self._lease = None
        return await self.write(lambda c: writing.retire(c, worker))

    async def take(self, worker: str, version: str, limit: int) -> Taken:
        nothing = await self.read(lambda c: scheduling.glance(c, version, time.time()))
        if nothing is not None:
            return nothing
        return await self.write(lambda c: scheduling.take(c, worker, version, limit, time.time()))

    async def take_expired(self, worker: str, limit: int) -> Sequence[Work]:
        if not await self.read(lambda c: c.execute(sql.EXPIRED, (time.time(), 1)).fetchone()):
            return ()
        return await self.write(lambda c: scheduling.take_expired(c, worker, limit, time.time()))

    async def take_cancels(self, worker: str) -> Sequence[Work]:
        if not await self.read(lambda c: c.execute(sql.CANCELS_OF, (worker,)).fetchone()):
            return ()

        def work(c: sqlite3.Connection) -> list[Work]:
            now = time.time()
            rows = c.execute(sql.CANCELS_OF, (worker,)).fetchall()
            return [
                scheduling.lease(c, worker, now, tid, number, epoch, owner, ctx)
                for tid, number, epoch, owner, ctx in rows
            ]

        return await self.write(work)

    async def held(self, worker: str) -> Mapping[str, int]:
        return dict(await self.read(lambda c: c.execute(sql.HELD, (worker,)).fetchall()))

    async def in_use(self, version: str) -> bool:
        row = {"version": version, "now": time.time()}
        return bool((await self.read(lambda c: c.execute(sql.IN_USE, row).fetchone()))[0])

    def append(self, append: Append) -> "Future[Appended]":
        return self.write(lambda c: writing.append(c, append, time.time()))

    async def finish(self, task_id: str, epoch: int, number: int, *, refusal: str = "") -> Parked:
        return await self.write(lambda c: writing.finish(c, task_id, epoch, number, refusal, time.time()))

    async def release(self, task_id: str, epoch: int, number: int, *, counts: bool = True) -> None:
        await self.write(lambda c: writing.release(c, task_id, epoch, number, counts))

    async def record_step(self, task_id: str, epoch: int, number: int, step: StepRecord) -> bool:
        def work(c: sqlite3.Connection) -> bool:
            head = c.execute(sql.TASK_HEAD, (task_id,)).fetchone()
            if head is None or head[5] != epoch:
                return False
            c.execute(sql.ADD_STEP, (task_id, number, step.name, step.result, step.started, step.ended))
            return True

        return await self.write(work)

    async def sweep(self) -> int:
        now = time.time()
        if not await self.read(lambda c: c.execute(sql.LOST_WORK, (now,)).fetchone()):
            return 0
        return await self.write(lambda c: writing.sweep(c, now))

    async def retain(self, events: float, tasks: float) -> int:
        assert self._writer is not None, "the store is not open"
        now = time.time()
        return await self._writer.aside(lambda c: retention.retain(c, now - events, now - tasks))

    async def rollout(self) -> Sequence[RolloutVersion]:
        return await self.read(versions.rollout)

    async def set_rollout(self, table: Sequence[RolloutVersion]) -> None:
        await self.write(lambda c: versions.set_rollout(c, table))

    async def move(self, version: str, to: str) -> int:
        return await self.write(lambda c: versions.move(c, version, to))

    async def figures(self, since: float) -> Sequence[VersionFigures]:
        return await self.read(lambda c: versions.figures(c, since, time.time()))

    async def unhosted(self) -> Mapping[str, int]:
        return await self.read(lambda c: versions.unhosted(c, time.time()))

    async def limits(self) -> Limits:
        return await self.read(scheduling.limits)

    async def set_limits(self, limits: Limits) -> None:
        await self.write(lambda c: scheduling.set_limits(c, limits, time.time()))

    # -- reading

    async def steps(self, task_id: str, number: int) -> Sequence[StepRecord]:
        rows = await self.read(lambda c: c.execute(sql.STEPS, (task_id, number)).fetchall())
        return [StepRecord(*row) for row in rows]

    async def load(self, task_id: str, owner: str | None = None) -> StoredTask | None:
        return await self.read(lambda c: reading.load(c, task_id, owner))

    async def events(self, task_id: str, after: int, limit: int = 1000) -> Sequence[LoggedEvent]:
        rows = await self.read(lambda c: c.execute(sql.EVENTS, (task_id, after, limit)).fetchall())
        return [LoggedEvent(*row) for row in rows]

    async def list_tasks(self, wanted: TaskFilter) -> TaskPage:
        return await self.read(lambda c: reading.list_tasks(c, wanted))

    async def trace(self, task_id: str, owner: str) -> TaskTrace | None:
        return await self.read(lambda c: reading.trace(c, task_id, owner))

    async def queue_state(self) -> QueueState:
        return await self.read(lambda c: scheduling.queue_state(c, time.time()))

    # -- noticing other processes

    def _look(self) -> None:
        """Every few milliseconds: has another process committed? (Own commits do not change data_version.)"""
        assert self._loop is not None
        assert self._eager is not None
        now = time.monotonic()
        try:
            version = self._eager.execute("PRAGMA data_version").fetchone()[0]
            if version != self._data_version or self._behind:
                first, self._data_version = self._data_version == -1, version
                if not first and self._listeners:
                    self._active_at = now
                    events = self._new_events(self._eager)
                    for listener in self._listeners:
                        listener(events)
        except sqlite3.OperationalError as error:
            log.warning("the store %s could not be looked at: %s", self._path, error)
        pause = _POLL_BUSY if now - self._active_at < _IDLE_AFTER else _POLL_IDLE
        self._poll = self._loop.call_later(0.0 if self._behind else pause, self._look)

    def _new_events(self, c: sqlite3.Connection) -> list[tuple[str, LoggedEvent | None]]:
        self._behind = False
        if not self._wants_events():
            self._skip(c)
            return []
        events: list[tuple[str, LoggedEvent | None]] = []
        for seq, task_id, *rest in c.execute(sql.NEW_EVENTS, (self._cursor, _LOOKED_AT)):
            self._cursor = seq
            events.append((task_id, LoggedEvent(*rest)))
        self._behind = len(events) == _LOOKED_AT
        for seq, task_id in c.execute(sql.NEW_PARKED, (self._parked,)):
            self._parked = seq
            events.append((task_id, None))
        return events

    def _skip(self, c: sqlite3.Connection) -> None:
        self._cursor = c.execute(sql.LAST_SEQ).fetchone()[0]
        self._parked = c.execute(sql.LAST_PARKED).fetchone()[0]

    # -- on the patient thread

    def _aside(self, c: sqlite3.Connection) -> None:
        lease = self._lease
        try:
            if lease and time.monotonic() >= self._renew_at:
                writing.renew(c, *lease)
                self._renew_at = time.monotonic() + lease[2] / 3
            if time.monotonic() >= self._checkpoint_at:
                self._checkpoint_at = time.monotonic() + _CHECKPOINT
                c.execute(sql.DROP_PARKED)
                c.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.DatabaseError as error:
            log.warning("the store %s did not take a renewal or checkpoint: %s", self._path, error)
