"""Rows of the record's database as entries."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from parley_registry.backends.sql import statements as sql
from parley_registry.entry import Instance, Key
from parley_registry.record import Stored

NONE_TOLD = b"[]"
"""Of an instance that did not say at which interfaces it answers: those of the card count."""
_AT_ONCE = 500


def entries(connection: Connection, keys: Sequence[Key]) -> list[Stored]:
    """The entries that exist among `keys`."""
    found: list[Stored] = []
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        found += stored(connection, connection.execute(sql.ENTRIES, _among(some)).fetchall())
    return found


def entry(connection: Connection, key: Key) -> Stored | None:
    """The entry with that key, or None."""
    row = connection.execute(sql.ENTRY, key._asdict()).fetchone()
    return stored(connection, [row])[0] if row else None


def stored(connection: Connection, rows: Iterable[Sequence[Any]]) -> list[Stored]:
    """The entries of rows as `statements.ENTRIES` has them, with their live instances."""
    rows = list(rows)
    if not rows:
        return []
    keys = [Key(*row[:3]) for row in rows]
    if len(keys) == 1:
        return [_entry(rows[0], connection.execute(sql.INSTANCES_OF_ENTRY, keys[0]._asdict()).fetchall())]
    alive: dict[Key, list[Sequence[Any]]] = defaultdict(list)
    for one in connection.execute(sql.INSTANCES, _among(keys)):
        alive[Key(*one[:3])].append(one[3:])
    return [_entry(row, alive.get(Key(*row[:3]), ())) for row in rows]


def _among(keys: Sequence[Key]) -> dict[str, Any]:
    namespaces, names = {key.namespace for key in keys}, {key.name for key in keys}
    return {
        "namespaces": sorted(namespaces),
        "names": sorted(names),
        "keys": [tuple(key) for key in keys],
    }


def _entry(row: Sequence[Any], alive: Sequence[Sequence[Any]]) -> Stored:
    namespace, name, version, latest, health, source, owner, card, digest, updated = row
    return Stored(
        namespace=namespace,
        name=name,
        version=version,
        latest=latest == version,
        health=health,
        instances=tuple(Instance(one[0], one[1]) for one in alive),
        interfaces=tuple(told for one in alive if (told := bytes(one[2])) != NONE_TOLD),
        source=source,
        owner=owner,
        card=bytes(card),
        digest=digest,
        updated=updated,
    )
