"""Taking work and giving it back, each in a transaction of its own."""

from collections.abc import Sequence
from typing import Any

from parley_runtime.store import ENDED, Limits, Taken, TaskEnded, UnknownTask, Work
from parley_runtime.stores.postgres import statements as sql
from parley_runtime.stores.postgres.following import add_work


async def take(c: Any, worker: str, version: str, limit: int, limits: Limits) -> tuple[Taken, float]:
    """What a worker gets of a version, and the highest rank among it."""
    if limits.rate <= 0:
        rows = await c.fetch(sql.TAKE, worker, version, limit)
        return Taken([work(row) for row in rows]), highest(rows)
    async with c.transaction():
        tokens = await c.fetchval(sql.REFILL, limits.rate, float(max(1, limits.burst)))
        rows = await c.fetch(sql.TAKE_CANCELS, worker, version, limit)  # to cancel costs nothing
        room = min(limit - len(rows), int(tokens + 1e-9))
        if room > 0:
            begun = await c.fetch(sql.TAKE, worker, version, room)
            spent = sum(1 for row in begun if row["kind"] == "message" and not row["expired"])
            await c.execute(sql.SPEND, float(spent))
            tokens -= spent
            rows += begun
    wait = max(0.0, (1 - tokens) / limits.rate) if len(rows) < limit and tokens < 1 else 0.0
    return Taken([work(row) for row in rows], wait), highest(rows)


def work(row: Any) -> Work:
    """A row of TAKE."""
    return Work(
        row["task_id"],
        row["context_id"],
        row["owner"],
        row["number"],
        row["kind"],
        row["version"],
        row["request"],
        row["traceparent"],
        row["epoch"],
        row["attempt"],
        row["accepted"],
        row["generation"] > 0,
        row["priority"],
        row["expired"],
    )


def highest(rows: Sequence[Any]) -> float:
    """The highest rank among rows of TAKE, or 0."""
    return max((row["rank"] for row in rows), default=0.0)


async def take_cancels(c: Any, worker: str) -> list[Work]:
    """The requests to cancel what this worker runs; one statement when there are none."""
    found = await c.fetch(sql.CANCELS_OF, worker)
    if not found:
        return []
    ids = [row["task_id"] for row in found]
    async with c.transaction():
        await c.fetch(sql.LOCK, ids)
        rows = await c.fetch(sql.TAKE_CANCEL, worker, ids, [row["number"] for row in found])
        await c.fetch(sql.SETTLE, ids)
    return [work(row) for row in rows]


async def request_cancel(c: Any, task_id: str, owner: str, request: bytes, traceparent: str) -> bool:
    """See Store.request_cancel; in a transaction."""
    head = await c.fetchrow(sql.LOCK, [task_id])
    if head is None or head["owner"] != owner:
        raise UnknownTask(f"there is no task {task_id!r}")
    if head["state"] in ENDED:
        raise TaskEnded("the task has already ended")
    [work] = await c.fetch(sql.NUMBERS, [task_id])
    if work["cancelling"]:
        return False
    await c.execute(sql.SET_REFUSAL, task_id, "")
    number = min(work["first"], 0) - 1
    row = (task_id, number, "cancel", head["version"], owner, "", b"", head["generation"])
    await add_work(c, [(*row, 0, "", 0.0, request, traceparent, None)])
    await c.fetch(sql.SETTLE, [task_id])
    return True


async def release(c: Any, task_id: str, epoch: int, number: int, counts: bool) -> None:
    """See Store.release; in a transaction."""
    head = await c.fetchrow(sql.LOCK, [task_id])
    if head is not None and head["epoch"] == epoch:
        await c.execute(sql.FREE, task_id, number, 0 if counts else 1)
        await c.fetch(sql.SETTLE, [task_id])


async def free(c: Any, ids: Sequence[str], worker: str) -> int:
    """Give back all that a worker holds of these tasks, as if it had not taken it; in a transaction. How many."""
    if not ids:
        return 0
    await c.fetch(sql.LOCK, list(ids))
    held = {row["task_id"] for row in await c.fetch(sql.HELD_BY, worker)} & set(ids)
    await c.execute(sql.FREE_ALL, list(held), 1)
    await c.fetch(sql.SETTLE, list(held))
    return len(held)


async def sweep(c: Any) -> int:
    """See Store.sweep; in a transaction."""
    found = await c.fetch(sql.LOST)
    if not found:
        await c.execute(sql.DROP_DEAD_WORKERS)
        return 0
    lost = await c.fetch(sql.STILL_LOST, [row["id"] for row in found])
    ids = [row["task_id"] for row in lost]
    await c.execute(sql.FREE_ALL, ids, 0)
    await c.execute(sql.FENCE, ids, [row["worker"] for row in lost])
    await c.fetch(sql.SETTLE, ids)
    return len(ids)
