"""Rows of the record's database as entries, and transactions around what touches several."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from parley_registry.backends import statements as sql
from parley_registry.entry import Instance, Key
from parley_registry.record import Stored


@contextmanager
def transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Run a block as one transaction, begun as told; undone when the block fails."""
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def entry_row(db: sqlite3.Connection, key: Key) -> tuple[Any, ...] | None:
    """The row of `statements.ENTRY` for a key, or None."""
    row: tuple[Any, ...] | None = db.execute(sql.ENTRY, key).fetchone()
    return row


def entry(db: sqlite3.Connection, key: Key) -> Stored | None:
    """The entry with that key, or None."""
    row = entry_row(db, key)
    return stored(db, row) if row else None


def stored(db: sqlite3.Connection, row: Sequence[Any]) -> Stored:
    """The entry of such a row, with its live instances."""
    number, namespace, name, version, latest, health, source, card, digest, updated = row
    alive = db.execute(sql.INSTANCES, (number,)).fetchall()
    return Stored(
        namespace=namespace,
        name=name,
        version=version,
        latest=bool(latest),
        health=health,
        instances=tuple(Instance(one[0], one[1]) for one in alive),
        interfaces=tuple(bytes(one[2]) for one in alive),
        source=source,
        card=bytes(card),
        digest=digest,
        updated=updated,
    )
