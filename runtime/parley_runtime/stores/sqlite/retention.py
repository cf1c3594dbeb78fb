"""Letting go of what is no longer needed on a SQLite file, a bounded number of rows at a time."""

import sqlite3

from parley_runtime.store import HIDDEN_ENDS
from parley_runtime.stores.sqlite import statements as sql

_TASKS = 100
_EVENTS = 2000
"""Rows that one call removes: while it does, nobody else writes to the file."""


def retain(c: sqlite3.Connection, ended_events: float, ended_tasks: float) -> int:
    """Compact tasks that ended before `ended_events` and forget those that ended before `ended_tasks` (seconds since
    the epoch); how many tasks were touched."""
    newest = c.execute(sql.NEWEST).fetchone()
    spared = newest[0] if newest else ""
    gone = _forget(c, ended_tasks, spared)
    touched = _compact(c, ended_events, spared)
    c.execute(sql.FORGET_SHARES)
    return gone + touched


def _compact(c: sqlite3.Connection, before: float, spared: str) -> int:
    room, touched = _EVENTS, 0
    for task_id, state in c.execute(sql.TO_COMPACT, (before, spared, _TASKS)).fetchall():
        touched += 1
        if state not in HIDDEN_ENDS:  # there the only event is the whole answer
            c.execute(sql.CUT_LOG, (task_id,))
            room -= c.execute(sql.DROP_EVENTS, (task_id, room)).rowcount
            if room <= 0:
                break  # the rest of a long log goes with the next call
        c.execute(sql.DROP_STEPS, (task_id,))
        c.execute(sql.EMPTY_REQUESTS, (task_id,))
        c.execute(sql.COMPACTED, (task_id,))
    return touched


def _forget(c: sqlite3.Connection, before: float, spared: str) -> int:
    found = c.execute(sql.TO_FORGET, (before, spared, _TASKS)).fetchall()
    for task_id, owner in found:
        c.execute(sql.FORGET_MESSAGES, (owner, task_id))
        for statement in sql.FORGET:
            c.execute(statement, (task_id,))
        c.execute(sql.FORGET_TASK, (task_id,))
    if found:
        c.execute(sql.FORGET_PINS)
    return len(found)
