"""Writes of the SQLite store. Each runs inside a group transaction, and refuses before it has written anything."""

import sqlite3
import time
from typing import Any

from a2a.types import a2a_pb2 as pb

from parley_runtime.store import (
    ENDED,
    ERROR,
    HIDDEN_ENDS,
    MOST_PUSH_CONFIGS,
    Accepted,
    Append,
    Appended,
    ContextMismatch,
    LoggedEvent,
    MessageIdReused,
    NewMessage,
    Parked,
    Resident,
    TaskEnded,
    TooManyConfigs,
    UnknownTask,
    Work,
)
from parley_runtime.stores.sqlite import scheduling
from parley_runtime.stores.sqlite import statements as sql


def renew(c: sqlite3.Connection, worker: str, version: str, lease_seconds: float) -> None:
    c.execute(sql.REGISTER, (worker, version, time.time() + lease_seconds))


def move_in(c: sqlite3.Connection, me: Resident, now: float) -> list[Resident]:
    rows = c.execute(sql.RESIDENTS, (now,)).fetchall()
    there = [Resident(agent, version, executor, bool(live)) for agent, version, executor, live in rows]
    if not any(r.agent != me.agent or (r.version == me.version and r.live) for r in there):
        c.execute(sql.MOVE_IN, (me.agent, me.version, me.executor))
    return there


def owned(c: sqlite3.Connection, task_id: str, owner: str) -> Any:
    head = c.execute(sql.TASK_HEAD, (task_id,)).fetchone()
    if head is None or head[0] != owner:
        raise UnknownTask(f"there is no task {task_id!r}")
    return head


def accept(c: sqlite3.Connection, m: NewMessage, take_as: str, now: float) -> Accepted:
    if m.follow_up:
        return _again(c, m) or _follow_up(c, m, take_as, now)
    first = m.first
    shown = 1 if first else 0
    context_id = m.context_id or m.new_context_id
    pin = c.execute(sql.PIN, (m.owner, context_id)).fetchone() if m.context_id else None
    version = (pin and pin[0]) or m.version
    schedule = scheduling.look(c, version)
    # What is pinned to another version is the queue's: it knows who hosts that one.
    taken = bool(take_as) and version == m.version and _in_time(m) and scheduling.free(schedule, now)
    if not taken and scheduling.full(c, schedule):
        if known := _again(c, m):
            return known
        raise scheduling.overloaded(schedule)
    if not c.execute(sql.ADD_MESSAGE, (m.owner, m.message_id, m.digest, m.task_id, shown, 1)).rowcount:
        known = _again(c, m)
        assert known is not None
        return known
    task = (
        m.task_id,
        m.owner,
        context_id,
        version,
        first.state if first else 0,
        shown,
        int(taken),
        shown,
        bool(m.push),
        now,
    )
    c.execute(sql.ADD_TASK, (*task, (first.status_at if first else None) or now))
    if m.push:
        _add_push(c, m, now)
    if first:
        c.execute(sql.ADD_EVENT, (m.task_id, 1, 1, first.state, now, first.body, first.message))
        c.execute(sql.KEEP_SNAPSHOT, (m.task_id, 1, m.first_snapshot))
        if m.push:
            c.execute(sql.ADD_OUTBOX, (1, first.body, m.traceparent, now, m.task_id))
    if not taken:
        _queue(c, schedule, m, 1, version, 0, now)
        return Accepted(m.task_id, context_id, shown, 1, False, at=now, version=version)
    scheduling.spend(c, schedule, 1, now)
    row = (m.task_id, 1, "message", 1, version, take_as, 1, m.request, m.traceparent, now, now)
    c.execute(sql.ADD_WORK, (*row, m.message_id, m.tenant, m.priority, 0.0, None))
    ids = (m.task_id, context_id, m.owner, 1)
    work = Work(
        *ids, "message", version, m.request, m.traceparent, 1, 1, now, bool(first), priority=m.priority
    )
    return Accepted(m.task_id, context_id, shown, 1, False, work, now, version)


def _in_time(m: NewMessage) -> bool:
    return m.expires_in is None or m.expires_in > 0


def _queue(
    c: sqlite3.Connection,
    schedule: scheduling.Schedule,
    m: NewMessage,
    number: int,
    version: str,
    state: int,
    now: float,
) -> None:
    """Add the work of a message that waits (state 0: ready, -1: behind another of its task)."""
    place = scheduling.rank(c, schedule, m, version)
    expires = None if m.expires_in is None else now + m.expires_in
    row = (m.task_id, number, "message", state, version, "", 0, m.request, m.traceparent, now, None)
    c.execute(sql.ADD_WORK, (*row, m.message_id, m.tenant, m.priority, place, expires))
    c.execute(sql.WAITS, (m.priority,))


def _again(c: sqlite3.Connection, m: NewMessage) -> Accepted | None:
    """The earlier acceptance of a message that comes again, if it does."""
    known = c.execute(sql.FIND_MESSAGE, (m.owner, m.message_id)).fetchone()
    if known is None:
        return None
    digest, task_id, generation, number = known
    if digest != m.digest:
        raise MessageIdReused(
            f"messageId {m.message_id!r} was already used for another message; use a new one"
        )
    context_id = c.execute(sql.TASK_HEAD, (task_id,)).fetchone()[1]
    return Accepted(task_id, context_id, generation, number, True)


def _follow_up(c: sqlite3.Connection, m: NewMessage, take_as: str, now: float) -> Accepted:
    _, context_id, version, state, generation, _, _, _, _, _ = owned(c, m.task_id, m.owner)
    if m.context_id and m.context_id != context_id:
        raise ContextMismatch(f"task {m.task_id!r} belongs to another context than {m.context_id!r}")
    if state in ENDED:
        raise TaskEnded(
            f"task {m.task_id!r} has ended and takes no more messages; start a new task in its context"
        )
    _, last, busy, _ = c.execute(sql.WORK_NUMBERS, (m.task_id,)).fetchone()
    schedule = scheduling.look(c, version)
    mine = bool(take_as) and not busy and version == m.version and _in_time(m)
    taken = mine and scheduling.free(schedule, now)
    if not taken and scheduling.full(c, schedule):
        raise scheduling.overloaded(schedule)
    if m.push:
        _add_push(c, m, now)
    number = max(last or 0, 0) + 1
    c.execute(sql.ADD_MESSAGE, (m.owner, m.message_id, m.digest, m.task_id, generation, number))
    work = None
    if taken:
        scheduling.spend(c, schedule, 1, now)
        row = (m.task_id, number, "message", 1, version, "", 0, m.request, m.traceparent, now, None)
        c.execute(sql.ADD_WORK, (*row, m.message_id, m.tenant, m.priority, 0.0, None))
        epoch, owner, _ = c.execute(sql.NEXT_EPOCH, (m.task_id,)).fetchone()
        work = scheduling.lease(c, take_as, now, m.task_id, number, epoch, owner, context_id)
    else:
        _queue(c, schedule, m, number, version, -1 if busy else 0, now)
    return Accepted(m.task_id, context_id, generation, number, False, work, version=version)


def _add_push(c: sqlite3.Connection, m: NewMessage, now: float) -> None:
    config = pb.TaskPushNotificationConfig.FromString(m.push)
    others = c.execute(sql.OTHER_CONFIGS, (m.task_id, config.id)).fetchone()[0]
    if others >= MOST_PUSH_CONFIGS:
        raise TooManyConfigs(f"the task already has {others} push configurations; delete one first")
    c.execute(sql.ADD_PUSH_CONFIG, (m.task_id, config.id, m.owner, config.url, m.push, now))
    c.execute(sql.SET_PUSH, (m.task_id,))


def request_cancel(
    c: sqlite3.Connection, task_id: str, owner: str, request: bytes, traceparent: str, now: float
) -> bool:
    head = owned(c, task_id, owner)
    if head[3] in ENDED:
        raise TaskEnded("the task has already ended")
    first, _, _, pending = c.execute(sql.WORK_NUMBERS, (task_id,)).fetchone()
    if pending:
        return False
    c.execute(sql.SET_REFUSAL, ("", task_id))
    c.execute(sql.HOLD_BACK, (task_id,))
    row = (task_id, min(first or 0, 0) - 1, "cancel", -1, head[2], "", 0, request, traceparent, now, None)
    c.execute(sql.ADD_WORK, (*row, "", "", scheduling.CANCEL, 0.0, None))
    c.execute(sql.WAITS, (scheduling.CANCEL,))
    c.execute(sql.ADMIT, (task_id,))
    return True


def finish(c: sqlite3.Connection, task_id: str, epoch: int, number: int, refusal: str, now: float) -> Parked:
    head = c.execute(sql.TASK_HEAD, (task_id,)).fetchone()
    if head is None or head[5] != epoch:
        return Parked(False)
    c.execute(sql.END_WORK, (now, task_id, number))
    c.execute(sql.ADD_PARKED, (task_id,))
    if refusal:
        c.execute(sql.SET_REFUSAL, (refusal, task_id))
    return Parked(True, c.execute(sql.ADMIT, (task_id,)).rowcount > 0)


def release(c: sqlite3.Connection, task_id: str, epoch: int, number: int, counts: bool) -> None:
    head = c.execute(sql.TASK_HEAD, (task_id,)).fetchone()
    if head is not None and head[5] == epoch:
        c.execute(sql.FREE if counts else sql.UNTAKE, (task_id, number))
        c.execute(sql.ADMIT, (task_id,))


def retire(c: sqlite3.Connection, worker: str) -> int:
    c.execute(sql.RETIRE, (worker,))
    freed = {row[0] for row in c.execute(sql.RELEASE, (worker,)).fetchall()}
    for task_id in freed:
        c.execute(sql.ADMIT, (task_id,))
    return len(freed)


def sweep(c: sqlite3.Connection, now: float) -> int:
    """Free what is held by nobody alive. Its tasks are fenced at once, not only when the next worker takes them."""
    lost = c.execute(sql.LOST_WORK, (now,)).fetchall()
    for task_id, number, worker, epoch in lost:
        c.execute(sql.FREE, (task_id, number))
        c.execute(sql.ADD_TAKEOVER, (task_id, epoch, worker, now))
    for task_id in {row[0] for row in lost}:
        c.execute(sql.FENCE, (task_id,))
        c.execute(sql.ADMIT, (task_id,))
    c.execute(sql.DROP_DEAD_WORKERS, (now - 60,))
    return len(lost)


def append(c: sqlite3.Connection, a: Append, now: float) -> Appended:
    last = a.events[-1]
    end = a.first + len(a.events) - 1
    status_at = max((e.status_at for e in a.events if e.status_at is not None), default=None)
    shown = 0 if last.state in HIDDEN_ENDS else 1
    ended = now if a.ends else None
    row = c.execute(
        sql.ADVANCE, (last.state, end, shown, status_at, ended, a.task_id, a.epoch, a.first - 1)
    ).fetchone()
    if row is None:
        return Appended()
    logged = [LoggedEvent(g, e.body, e.state, now, a.number) for g, e in enumerate(a.events, a.first)]
    c.executemany(
        sql.ADD_EVENT,
        [(a.task_id, g, a.number, e.state, now, e.body, e.message) for g, e in enumerate(a.events, a.first)],
    )
    pushes = bool(row[0]) and last.state != ERROR
    if pushes:
        for event in logged:
            c.execute(sql.ADD_OUTBOX, (event.generation, event.body, a.traceparent, now, a.task_id))
    if a.snapshot is not None:
        c.execute(sql.KEEP_SNAPSHOT, (a.task_id, end, a.snapshot))
    for name, value in a.measures.items():
        c.execute(sql.KEEP_MEASURE, (name, now, value, a.task_id))
    if a.ends:
        c.execute(sql.END_ALL_WORK, (now, a.task_id))
    return Appended(logged, pushes)
