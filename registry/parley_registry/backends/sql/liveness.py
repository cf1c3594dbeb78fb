"""Who lives: instances, their heartbeats, and the health that follows from them, inside a transaction."""

from collections.abc import Iterable

from sqlalchemy import Connection

from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.transaction import Transaction, values_of
from parley_registry.entry import Health, Key
from parley_registry.record import Source


def withdraw(db: Transaction, key: Key, instance_id: str) -> None:
    """See `Record.withdraw`."""
    lost(db, [key for _ in db.all(sql.WITHDRAW, **values_of(key), id=instance_id)])


def expire(db: Transaction, seconds: float) -> int:
    """See `Record.expire`."""
    return lost(
        db, [Key(row.namespace, row.name, row.version) for row in db.all(sql.EXPIRE, since=db.now - seconds)]
    )


def any_expired(connection: Connection, since: float) -> bool:
    """Whether an instance was not seen since then."""
    return connection.execute(sql.ANY_EXPIRED, {"since": since}).fetchone() is not None


def any_due(connection: Connection, now: float) -> bool:
    """Whether a source is due for a look."""
    return connection.execute(sql.SOURCES_DUE, {"now": now, "most": 1}).fetchone() is not None


def claim_sources(db: Transaction, every: float, limit: int) -> list[Source]:
    """See `Record.claim_sources`."""
    due = db.all(sql.SOURCES_DUE, now=db.now, most=limit)
    if due:
        db.do(sql.LOOKED, next=db.now + every, agents=[(row.namespace, row.name) for row in due])
    return list(dict.fromkeys(Source(row.namespace, row.source) for row in due))


def mark_source(db: Transaction, source: Source, health: Health) -> None:
    """See `Record.mark_source`."""
    for agent in db.all(sql.AGENTS_OF_SOURCE, namespace=source.namespace, url=source.url):
        for row in db.all(sql.VERSIONS, namespace=source.namespace, name=agent.name):
            if health == "down" or row.version == agent.latest:
                set_health(db, Key(source.namespace, agent.name, row.version), health)


def lost(db: Transaction, gone: Iterable[Key]) -> int:
    """Mark down those of these entries that have no instance left; how many that were."""
    return sum(
        set_health(db, key, "down")
        for key in sorted(set(gone))
        if not db.one(sql.HAS_INSTANCES, **values_of(key))
    )


def set_health(db: Transaction, key: Key, health: Health) -> bool:
    """Set an entry's health; whether that changed it."""
    changed = db.one(sql.SET_HEALTH, **values_of(key), health=health, now=db.now) is not None
    if changed:
        db.log("up" if health == "up" else "down", key.agent, key.version)
    return changed
