"""Reads of the PostgreSQL store."""

from collections.abc import Sequence
from typing import Any

from parley_runtime.store import (
    LoggedEvent,
    StepRecord,
    StoredTask,
    TaskFilter,
    TaskPage,
    TaskTrace,
    WorkRecord,
)
from parley_runtime.stores.postgres import statements as sql


async def load(c: Any, ids: Sequence[str], unsure: bool) -> Sequence[StoredTask | ValueError]:
    """The tasks of these ids; a ValueError for one that is not there."""
    found = {row["id"]: stored(row) for row in await c.fetch(sql.LOAD, list(set(ids)))}
    return [found.get(task_id, ValueError(task_id)) for task_id in ids]


async def generations(c: Any, ids: Sequence[str], unsure: bool) -> Sequence[int]:
    """How far the logs of these tasks go; 0 for one that is not there."""
    found = {row["id"]: row["generation"] for row in await c.fetch(sql.GENERATIONS, list(set(ids)))}
    return [found.get(task_id, 0) for task_id in ids]


def stored(row: Any) -> StoredTask:
    """A row of LOAD."""
    tail = list(zip(row["bodies"], row["messages"], strict=True)) if row["bodies"] else []
    return StoredTask(
        row["id"],
        row["context_id"],
        row["owner"],
        row["state"],
        row["generation"],
        row["visible"],
        row["busy"],
        row["version"],
        row["body"],
        row["at"],
        tail,
        row["refusal"],
        row["log_from"],
    )


async def list_tasks(c: Any, f: TaskFilter) -> TaskPage:
    """One page of an owner's visible tasks, by status time and id, newest first."""
    where, values = ["owner = $1", "visible"], [f.owner]

    def narrow(condition: str, *given: Any) -> None:
        values.extend(given)
        where.append(
            condition.format(*(f"${len(values) - len(given) + n}" for n in range(1, len(given) + 1)))
        )

    if f.context_id:
        narrow("context_id = {}", f.context_id)
    if f.state is not None:
        narrow("state = {}", f.state)
    if f.status_after is not None:
        narrow("status_at >= {}", f.status_after)
    total = await c.fetchval(f"SELECT count(*) FROM task WHERE {' AND '.join(where)}", *values)
    if f.cursor is not None:
        narrow("(status_at, id) < ({}::float8, {}::text)", *f.cursor)
    rows = await c.fetch(
        f"SELECT id, status_at FROM task WHERE {' AND '.join(where)} ORDER BY status_at DESC, id DESC LIMIT {f.size + 1:d}",
        *values,
    )
    page = rows[: f.size]
    found = {row["id"]: stored(row) for row in await c.fetch(sql.LOAD, [row["id"] for row in page])}
    tasks = [found[row["id"]] for row in page if row["id"] in found]
    following = (page[-1]["status_at"], page[-1]["id"]) if len(rows) > f.size else None
    return TaskPage(tasks, following, total)


async def events(c: Any, task_id: str, after: int, limit: int) -> list[LoggedEvent]:
    """The log of a task after a generation."""
    return [LoggedEvent(*row) for row in await c.fetch(sql.EVENTS, task_id, after, limit)]


async def trace(c: Any, task_id: str, owner: str) -> TaskTrace | None:
    """How a task went, from its rows."""
    row = await c.fetchrow(sql.LOAD, [task_id])
    if row is None or row["owner"] != owner:
        return None
    return TaskTrace(
        stored(row),
        [WorkRecord(*r) for r in await c.fetch(sql.WORK_HISTORY, task_id)],
        [StepRecord(*r) for r in await c.fetch(sql.ALL_STEPS, task_id)],
        await events(c, task_id, 0, 10_000),
        [tuple(r) for r in await c.fetch(sql.TAKEOVERS, task_id)],
    )
