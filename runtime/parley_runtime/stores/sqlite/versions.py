"""What a SQLite file knows of the versions of its agent."""

import sqlite3
from collections.abc import Sequence

from parley_registry.client import RolloutVersion
from parley_runtime.stores.sqlite import statements as sql


def rollout(c: sqlite3.Connection) -> list[RolloutVersion]:
    """See Store.rollout."""
    return [RolloutVersion(*row) for row in c.execute(sql.ROLLOUT)]


def set_rollout(c: sqlite3.Connection, table: Sequence[RolloutVersion]) -> None:
    """See Store.set_rollout."""
    c.execute(sql.DROP_ROLLOUT)
    c.executemany(sql.ADD_ROLLOUT, [(n, v.version, v.state, v.weight) for n, v in enumerate(table)])


def unhosted(c: sqlite3.Connection, now: float) -> dict[str, int]:
    """See Store.unhosted."""
    return dict(c.execute(sql.UNHOSTED, (now,)).fetchall())
