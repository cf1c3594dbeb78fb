"""Letting go of what is no longer needed, each in a transaction of its own."""

from collections.abc import Iterator, Sequence
from typing import Any

from parley_runtime.stores.postgres import statements as sql

_EVENTS = 20_000
"""Events that one statement deletes: however long the logs are, each is done well within its time."""


async def compact(c: Any, older: float) -> int:
    """Take the logs of tasks that ended more than `older` seconds ago; how many tasks. One that is locked is left for the
    next time."""
    rows = await c.fetch(sql.COMPACTABLE, older)
    if rows:
        await _delete_events(c, rows)
        for statement in sql.COMPACT:
            await c.execute(statement, [row["id"] for row in rows])
    return len(rows)


async def forget(c: Any, older: float) -> int:
    """Take tasks that ended more than `older` seconds ago, with all that belongs to them; how many."""
    rows = await c.fetch(sql.FORGETTABLE, older)
    if rows:
        await _delete_events(c, rows)
        for statement in sql.FORGET:
            await c.execute(statement, [row["id"] for row in rows])
    return len(rows)


async def _delete_events(c: Any, rows: Sequence[Any]) -> None:
    for spans in _pages(rows):
        await c.execute(sql.DELETE_EVENTS, *map(list, zip(*spans, strict=True)))


def _pages(rows: Sequence[Any]) -> Iterator[list[tuple[str, int, int]]]:
    """Spans of logs (task, first and last generation) that are deleted together."""
    page: list[tuple[str, int, int]] = []
    room = _EVENTS
    for row in rows:
        first = row["log_from"]
        while first <= row["generation"]:
            last = min(row["generation"], first + room - 1)
            page.append((row["id"], first, last))
            room -= last - first + 1
            first = last + 1
            if room == 0:
                yield page
                page, room = [], _EVENTS
    if page:
        yield page
