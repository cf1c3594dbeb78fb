"""What a SQLite file knows of the versions of its agent."""

import sqlite3
from collections.abc import Sequence

from parley_registry.client import SAMPLE, RolloutVersion, VersionFigures
from parley_runtime.metrics import end_name
from parley_runtime.stores.sqlite import statements as sql

_NO_OPEN: tuple[int, int, int] = (0, 0, 0)


def rollout(c: sqlite3.Connection) -> list[RolloutVersion]:
    """See Store.rollout."""
    return [RolloutVersion(*row) for row in c.execute(sql.ROLLOUT)]


def set_rollout(c: sqlite3.Connection, table: Sequence[RolloutVersion]) -> None:
    """See Store.set_rollout."""
    c.execute(sql.DROP_ROLLOUT)
    c.executemany(sql.ADD_ROLLOUT, [(n, v.version, v.state, v.weight) for n, v in enumerate(table)])


def move(c: sqlite3.Connection, version: str, to: str) -> int:
    """See Store.move."""
    found = [task_id for (task_id,) in c.execute(sql.OPEN_OF, (version,)).fetchall()]
    for task_id in found:
        c.execute(sql.UNTAKE_ALL, (task_id,))
        c.execute(sql.MOVE_WORK, (to, task_id))
        c.execute(sql.MOVE_TASK, (to, task_id))
        c.execute(sql.ADMIT, (task_id,))
    for statement in sql.MOVE_PINS:
        c.execute(statement, (version, to))
    return len(found)


def unhosted(c: sqlite3.Connection, now: float) -> dict[str, int]:
    """See Store.unhosted."""
    return dict(c.execute(sql.UNHOSTED, (now,)).fetchall())


def figures(c: sqlite3.Connection, since: float, now: float) -> list[VersionFigures]:
    """See Store.figures."""
    after = now - since
    workers = dict(c.execute(sql.LIVE, (now,)).fetchall())
    opened = {version: (busy, idle, contexts) for version, busy, idle, contexts in c.execute(sql.OPEN)}
    ended: dict[str, dict[str, int]] = {}
    for version, state, count in c.execute(sql.ENDED, (after,)):
        ended.setdefault(version, {})[end_name(state)] = count
    measures: dict[str, dict[str, list[float]]] = {}
    found = ("", "")
    while row := c.execute(sql.NEXT_MEASURED, found).fetchone():
        found = row
        if values := [value for (value,) in c.execute(sql.MEASURES, (after, *found, SAMPLE))]:
            measures.setdefault(found[0], {})[found[1]] = values
    return [
        VersionFigures(
            version,
            workers.get(version, 0),
            *opened.get(version, _NO_OPEN),
            ended.get(version, {}),
            _durations(c, version, after),
            measures.get(version, {}),
        )
        for version in sorted({*workers, *opened, *ended, *measures})
    ]


def _durations(c: sqlite3.Connection, version: str, after: float) -> list[float]:
    found: list[float] = []
    for statement in sql.DURATIONS:  # what is not compacted yet is the newer
        rows = c.execute(statement, (after, version, SAMPLE - len(found)))
        found += [max(0.0, seconds) for (seconds,) in rows]
    return found
