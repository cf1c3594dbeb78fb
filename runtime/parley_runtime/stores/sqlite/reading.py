"""Reads of the SQLite store that need more than one statement. Each runs on the reading lane."""

import sqlite3

from parley_runtime.store import (
    LoggedEvent,
    StepRecord,
    StoredTask,
    TaskFilter,
    TaskPage,
    TaskTrace,
    WorkRecord,
)
from parley_runtime.stores.sqlite import statements as sql


def load(c: sqlite3.Connection, task_id: str, owner: str | None) -> StoredTask | None:
    """The task with snapshot and tail as of one moment; None when unknown or another owner's."""
    c.execute("BEGIN")
    try:
        return _load(c, task_id, owner)
    finally:
        c.execute("COMMIT")


def _load(c: sqlite3.Connection, task_id: str, owner: str | None) -> StoredTask | None:
    head = c.execute(sql.TASK_HEAD, (task_id,)).fetchone()
    if head is None or (owner is not None and head[0] != owner):
        return None
    found_owner, context_id, version, state, generation, _, visible, _, refusal, log_from = head
    busy = bool(c.execute(sql.BUSY, (task_id,)).fetchone()[0])
    at, body = c.execute(sql.SNAPSHOT, (task_id,)).fetchone() or (0, b"")
    tail = c.execute(sql.TAIL, (task_id, at)).fetchall() if at < generation else []
    return StoredTask(
        task_id,
        context_id,
        found_owner,
        state,
        generation,
        bool(visible),
        busy,
        version,
        body,
        at,
        tail,
        refusal,
        log_from,
    )


def list_tasks(c: sqlite3.Connection, f: TaskFilter) -> TaskPage:
    """One page of an owner's visible tasks, by status time and id, newest first."""
    where, values = ["owner = ?", "visible = 1"], [f.owner]
    for column, value in (("context_id", f.context_id or None), ("state", f.state)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)  # type: ignore[arg-type]
    if f.status_after is not None:
        where.append("status_at >= ?")
        values.append(f.status_after)  # type: ignore[arg-type]
    total = c.execute(f"SELECT count(*) FROM task WHERE {' AND '.join(where)}", values).fetchone()[0]
    if f.cursor is not None:
        where.append("(status_at, id) < (?, ?)")
        values.extend(f.cursor)  # type: ignore[arg-type]
    query = (
        f"SELECT id, status_at FROM task WHERE {' AND '.join(where)} ORDER BY status_at DESC, id DESC LIMIT ?"
    )
    rows = c.execute(query, [*values, f.size + 1]).fetchall()
    page = rows[: f.size]
    tasks = [task for task_id, _ in page if (task := load(c, task_id, f.owner)) is not None]
    following = (page[-1][1], page[-1][0]) if len(rows) > f.size else None
    return TaskPage(tasks, following, total)


def trace(c: sqlite3.Connection, task_id: str, owner: str) -> TaskTrace | None:
    """How a task went, from its rows."""
    task = load(c, task_id, owner)
    if task is None:
        return None
    return TaskTrace(
        task,
        [WorkRecord(*row) for row in c.execute(sql.WORK_HISTORY, (task_id,))],
        [StepRecord(*row) for row in c.execute(sql.ALL_STEPS, (task_id,))],
        [LoggedEvent(*row) for row in c.execute(sql.EVENTS, (task_id, 0, 10_000))],
        c.execute(sql.TAKEOVERS, (task_id,)).fetchall(),
    )
