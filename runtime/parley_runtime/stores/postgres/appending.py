"""Appending events and ending work: many tasks at once, each fenced by its epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parley_runtime.store import HIDDEN_ENDS, Append, Appended, LoggedEvent, Parked
from parley_runtime.stores.postgres import statements as sql


async def append(c: Any, appends: Sequence[Append], unsure: bool) -> Sequence[Appended | None]:
    """The outcome of each append: its events as logged, or none when the fence refused it; None to do it again."""
    if not any(a.measures for a in appends):
        return await _append(c, appends, unsure)
    async with c.transaction():
        outcomes = await _append(c, appends, unsure)
        rows = [
            (a.task_id, name, value)
            for a, outcome in zip(appends, outcomes, strict=True)
            if outcome is not None and outcome.events
            for name, value in a.measures.items()
        ]
        if rows:
            await c.execute(sql.KEEP_MEASURES, *map(list, zip(*rows, strict=True)))
    return outcomes


async def _append(c: Any, appends: Sequence[Append], unsure: bool) -> Sequence[Appended | None]:
    heads = [_head(a) for a in appends]
    events = [
        (a.task_id, generation, e.state, e.body, e.message)
        for a in appends
        for generation, e in enumerate(a.events, a.first)
    ]
    rows = await c.fetch(sql.APPEND, heads, events)
    found = {row["task_id"]: row for row in rows}
    if unsure and len(found) < len(appends):
        rest = [(a.task_id, a.epoch, a.first + len(a.events) - 1) for a in appends if a.task_id not in found]
        found |= {
            row["task_id"]: row for row in await c.fetch(sql.APPENDED, *map(list, zip(*rest, strict=True)))
        }
    return [_appended(a, found.get(a.task_id)) for a in appends]


def _head(a: Append) -> tuple[Any, ...]:
    last = a.events[-1]
    status_at = max((e.status_at for e in a.events if e.status_at is not None), default=None)
    return (
        a.task_id,
        a.epoch,
        a.number,
        a.first,
        a.first + len(a.events) - 1,
        last.state,
        last.state not in HIDDEN_ENDS,
        status_at,
        a.snapshot,
        a.ends,
        a.traceparent,
    )


def _appended(a: Append, row: Any) -> Appended | None:
    if row is None:
        return Appended()
    if row["moved"]:
        return None
    now = row["now"]
    logged = [LoggedEvent(g, e.body, e.state, now, a.number) for g, e in enumerate(a.events, a.first)]
    return Appended(logged, row["push"])


@dataclass(frozen=True, slots=True)
class Finish:
    """A work entry that ends without its task; `refusal` is why its request to cancel was refused."""

    task_id: str
    epoch: int
    number: int
    refusal: str


async def finish(c: Any, items: Sequence[Finish], unsure: bool) -> Sequence[Parked]:
    """Park tasks, or have their next entry wait. (Done twice, it changes nothing the second time.)"""
    async with c.transaction():
        epochs = {row["id"]: row["epoch"] for row in await c.fetch(sql.LOCK, [i.task_id for i in items])}
        mine = [i for i in items if epochs.get(i.task_id) == i.epoch]
        if not mine:
            return [Parked(False) for _ in items]
        await c.execute(sql.END_WORK, [i.task_id for i in mine], [i.number for i in mine])
        for item in mine:
            if item.refusal:
                await c.execute(sql.SET_REFUSAL, item.task_id, item.refusal)
        settled = await c.fetch(sql.SETTLE, [i.task_id for i in mine])
        waiting = {row["task_id"] for row in settled if row["waiting"]}
    done = {i.task_id for i in mine}
    return [Parked(i.task_id in done, i.task_id in waiting) for i in items]
