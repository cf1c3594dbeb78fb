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
    TaskEnded,
    TooManyConfigs,
    UnknownTask,
    Work,
)
from parley_runtime.stores.sqlite import schema


def renew(c: sqlite3.Connection, worker: str, version: str, lease_seconds: float) -> None:
    c.execute(schema.REGISTER, (worker, version, time.time() + lease_seconds))


def owned(c: sqlite3.Connection, task_id: str, owner: str) -> Any:
    head = c.execute(schema.TASK_HEAD, (task_id,)).fetchone()
    if head is None or head[0] != owner:
        raise UnknownTask(f"there is no task {task_id!r}")
    return head


def accept(c: sqlite3.Connection, m: NewMessage, take_as: str, now: float) -> Accepted:
    if m.follow_up:
        return _again(c, m) or _follow_up(c, m, take_as, now)
    first = m.first
    shown = 1 if first else 0
    if not c.execute(schema.ADD_MESSAGE, (m.owner, m.message_id, m.digest, m.task_id, shown, 1)).rowcount:
        known = _again(c, m)
        assert known is not None
        return known
    context_id = m.context_id or m.new_context_id
    pin = c.execute(schema.PIN, (m.owner, context_id)).fetchone() if m.context_id else None
    version = pin[0] if pin else m.version
    taken = 1 if take_as and version == m.version else 0  # else the queue knows who hosts that version
    task = (
        m.task_id,
        m.owner,
        context_id,
        version,
        first.state if first else 0,
        shown,
        taken,
        shown,
        bool(m.push),
    )
    c.execute(schema.ADD_TASK, (*task, (first.status_at if first else None) or now))
    if m.push:
        _add_push(c, m, now)
    if first:
        c.execute(schema.ADD_EVENT, (m.task_id, 1, 1, first.state, now, first.body, first.message))
        c.execute(schema.KEEP_SNAPSHOT, (m.task_id, 1, m.first_snapshot))
        if m.push:
            c.execute(schema.ADD_OUTBOX, (1, first.body, m.traceparent, now, m.task_id))
    started = now if taken else None
    row = (
        m.task_id,
        1,
        "message",
        taken,
        version,
        take_as if taken else "",
        taken,
        m.request,
        m.traceparent,
        now,
        started,
    )
    c.execute(schema.ADD_WORK, row)
    work = None
    if taken:
        ids = (m.task_id, context_id, m.owner, 1)
        work = Work(*ids, "message", version, m.request, m.traceparent, 1, 1, now, bool(first))
    return Accepted(m.task_id, context_id, shown, 1, False, work)


def _again(c: sqlite3.Connection, m: NewMessage) -> Accepted | None:
    """The earlier acceptance of a message that comes again, if it does."""
    known = c.execute(schema.FIND_MESSAGE, (m.owner, m.message_id)).fetchone()
    if known is None:
        return None
    digest, task_id, generation, number = known
    if digest != m.digest:
        raise MessageIdReused(
            f"messageId {m.message_id!r} was already used for another message; use a new one"
        )
    context_id = c.execute(schema.TASK_HEAD, (task_id,)).fetchone()[1]
    return Accepted(task_id, context_id, generation, number, True)


def _follow_up(c: sqlite3.Connection, m: NewMessage, take_as: str, now: float) -> Accepted:
    _, context_id, version, state, generation, epoch, _, _, _ = owned(c, m.task_id, m.owner)
    if m.context_id and m.context_id != context_id:
        raise ContextMismatch(f"task {m.task_id!r} belongs to another context than {m.context_id!r}")
    if state in ENDED:
        raise TaskEnded(
            f"task {m.task_id!r} has ended and takes no more messages; start a new task in its context"
        )
    if m.push:
        _add_push(c, m, now)
    _, last, busy, _ = c.execute(schema.WORK_NUMBERS, (m.task_id,)).fetchone()
    number = max(last or 0, 0) + 1
    c.execute(schema.ADD_MESSAGE, (m.owner, m.message_id, m.digest, m.task_id, generation, number))
    row = (m.task_id, number, "message", 0, version, "", 0, m.request, m.traceparent, now, None)
    c.execute(schema.ADD_WORK, row)
    work = None
    if take_as and not busy and version == m.version:
        epoch, owner, _ = c.execute(schema.NEXT_EPOCH, (m.task_id,)).fetchone()
        work = lease(c, take_as, now, m.task_id, number, epoch, owner, context_id)
    return Accepted(m.task_id, context_id, generation, number, False, work)


def _add_push(c: sqlite3.Connection, m: NewMessage, now: float) -> None:
    config = pb.TaskPushNotificationConfig.FromString(m.push)
    others = c.execute(schema.OTHER_CONFIGS, (m.task_id, config.id)).fetchone()[0]
    if others >= MOST_PUSH_CONFIGS:
        raise TooManyConfigs(f"the task already has {others} push configurations; delete one first")
    c.execute(schema.ADD_PUSH_CONFIG, (m.task_id, config.id, m.owner, config.url, m.push, now))
    c.execute(schema.SET_PUSH, (m.task_id,))


def take(c: sqlite3.Connection, worker: str, version: str, limit: int, now: float) -> list[Work]:
    found = c.execute(schema.TAKEABLE, {"version": version, "now": now, "limit": limit}).fetchall()
    taken = []
    for task_id, number in found:
        epoch, owner, context_id = c.execute(schema.NEXT_EPOCH, (task_id,)).fetchone()
        taken.append(lease(c, worker, now, task_id, number, epoch, owner, context_id))
    return taken


def lease(
    c: sqlite3.Connection,
    worker: str,
    now: float,
    task_id: str,
    number: int,
    epoch: int,
    owner: str,
    context_id: str,
) -> Work:
    row = c.execute(schema.LEASE, (worker, now, task_id, number)).fetchone()
    kind, version, attempt, request, traceparent, accepted = row
    return Work(
        task_id, context_id, owner, number, kind, version, request, traceparent, epoch, attempt, accepted
    )


def append(c: sqlite3.Connection, a: Append, now: float) -> Appended:
    last = a.events[-1]
    end = a.first + len(a.events) - 1
    status_at = max((e.status_at for e in a.events if e.status_at is not None), default=None)
    shown = 0 if last.state in HIDDEN_ENDS else 1
    row = c.execute(
        schema.ADVANCE, (last.state, end, shown, status_at, a.task_id, a.epoch, a.first - 1)
    ).fetchone()
    if row is None:
        return Appended()
    logged = [LoggedEvent(g, e.body, e.state, now, a.number) for g, e in enumerate(a.events, a.first)]
    c.executemany(
        schema.ADD_EVENT,
        [(a.task_id, g, a.number, e.state, now, e.body, e.message) for g, e in enumerate(a.events, a.first)],
    )
    pushes = bool(row[0]) and last.state != ERROR
    if pushes:
        for event in logged:
            c.execute(schema.ADD_OUTBOX, (event.generation, event.body, a.traceparent, now, a.task_id))
    if a.snapshot is not None:
        c.execute(schema.KEEP_SNAPSHOT, (a.task_id, end, a.snapshot))
    if a.ends:
        c.execute(schema.END_ALL_WORK, (now, a.task_id))
    return Appended(logged, pushes)
