"""`record.Record` in a relational database."""

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from parley_core.errors import ConfigurationError
from parley_registry.audit import NOBODY, Actor, Audited
from parley_registry.backends.sql import liveness, owners, publishing, rollouts
from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.database import Database
from parley_registry.backends.sql.heartbeats import Heartbeats
from parley_registry.backends.sql.postgres import PostgresDatabase
from parley_registry.backends.sql.rows import entries, stored
from parley_registry.backends.sql.sqlite import SqliteDatabase
from parley_registry.backends.sql.transaction import Transaction, values_of
from parley_registry.card import CheckedCard
from parley_registry.entry import Agent, Change, Health, Instance, Key
from parley_registry.record import Changes, Freshness, Published, Source, Stored
from parley_registry.rollout import Rollout


class SqlRecord:
    """On `sqlite:///file.db` or `postgresql://user:password@host/database`. The newest `keep` changes are kept for
    watchers to resume from. `clock` is the time of a record in a file; one on PostgreSQL goes by the database's."""

    def __init__(self, url: str, *, keep: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        self._database = _database(url, keep, clock)
        self._heartbeats = Heartbeats(self._database)

    @property
    def database(self) -> Database:
        """For the rooms that keep what is theirs in it too: prompts, MCP servers."""
        return self._database

    # -- life
    async def open(self) -> None:
        """See `Record.open`."""
        await self._database.open()

    async def close(self) -> None:
        """See `Record.close`."""
        await self._heartbeats.close()
        await self._database.close()

    async def ping(self) -> None:
        """See `Record.ping`."""
        await self._database.glance(lambda db: db.execute(sql.PING).fetchone())

    def listen(self, heard: Callable[[], None]) -> None:
        """See `Record.listen`."""
        self._database.listen(heard)

    async def freshness(self) -> Freshness:
        """See `Record.freshness`: this is the record itself."""
        return Freshness(0.0, False, "")

    # -- the catalogue
    async def publish(
        self,
        checked: CheckedCard,
        *,
        namespace: str,
        instance: Instance | None,
        source: str,
        actor: Actor = NOBODY,
    ) -> Published:
        """See `Record.publish`."""
        return await self._database.write(
            lambda db: publishing.publish(db, checked, namespace, instance, source, actor)
        )

    async def load(self, keys: Sequence[Key]) -> Sequence[Stored]:
        """See `Record.load`."""
        return await self._database.read(lambda db: entries(db, keys)) if keys else []

    async def latest(self, agent: Agent) -> Stored | None:
        """See `Record.latest`."""
        found = await self._database.read(
            lambda db: stored(db, db.execute(sql.LATEST, values_of(agent)).fetchall())
        )
        return found[0] if found else None

    async def versions(self, agent: Agent) -> Sequence[Stored]:
        """See `Record.versions`."""
        return await self._database.read(
            lambda db: stored(db, db.execute(sql.ENTRIES_OF_AGENT, values_of(agent)).fetchall())
        )

    async def set_latest(self, key: Key, *, actor: Actor = NOBODY) -> Stored | None:
        """See `Record.set_latest`."""
        return await self._database.write(lambda db: publishing.set_latest(db, key, actor))

    async def delete(self, agent: Agent, version: str | None, *, actor: Actor = NOBODY) -> bool:
        """See `Record.delete`."""
        return await self._database.write(lambda db: publishing.delete(db, agent, version, actor))

    async def page(self, after: Key | None, limit: int) -> Sequence[Stored]:
        """See `Record.page`; by namespace, name and version."""

        def read(db: Connection) -> list[Stored]:
            rows = (
                db.execute(sql.NEXT_PAGE, {**values_of(after), "most": limit})
                if after
                else db.execute(sql.FIRST_PAGE, {"most": limit})
            )
            return stored(db, rows.fetchall())

        return await self._database.read(read)

    async def retell(self, keys: Sequence[Key]) -> None:
        """See `Record.retell`."""

        def write(db: Transaction) -> None:
            for key in keys:
                db.log("signature", key.agent, key.version)

        await self._database.write(write)

    # -- health
    async def heartbeat(self, key: Key, instance_id: str) -> bool:
        """See `Record.heartbeat`; all that are pending at once go together."""
        return await self._heartbeats.beat(key, instance_id)

    async def withdraw(self, key: Key, instance_id: str) -> None:
        """See `Record.withdraw`."""
        await self._database.write(lambda db: liveness.withdraw(db, key, instance_id))

    async def expire(self, seconds: float) -> int:
        """See `Record.expire`."""
        if not await self._database.beat(lambda db, now: liveness.any_expired(db, now - seconds)):
            return 0
        return await self._database.write(lambda db: liveness.expire(db, seconds))

    async def claim_sources(self, every: float, limit: int) -> Sequence[Source]:
        """See `Record.claim_sources`."""
        if not await self._database.beat(liveness.any_due):
            return []
        return await self._database.write(lambda db: liveness.claim_sources(db, every, limit))

    async def mark_source(self, source: Source, health: Health) -> None:
        """See `Record.mark_source`."""
        await self._database.write(lambda db: liveness.mark_source(db, source, health))

    # -- rollouts
    async def rollout(self, agent: Agent) -> Rollout:
        """See `Record.rollout`."""
        return await self._database.glance(lambda db: rollouts.rollout_of(db, agent))

    async def set_rollout(
        self, rollout: Rollout, expected_revision: int, *, actor: Actor = NOBODY
    ) -> Rollout:
        """See `Record.set_rollout`."""
        return await self._database.write(
            lambda db: rollouts.set_rollout(db, rollout, expected_revision, actor)
        )

    # -- owners and the audit trail
    async def owner(self, agent: Agent) -> str | None:
        """See `Record.owner`."""
        row = await self._database.glance(lambda db: db.execute(sql.AGENT, values_of(agent)).fetchone())
        return None if row is None else str(row.owner)

    async def set_owner(self, agent: Agent, owner: str, *, actor: Actor = NOBODY) -> bool:
        """See `Record.set_owner`."""
        return await self._database.write(lambda db: owners.set_owner(db, agent, owner, actor))

    async def note(
        self,
        actor: Actor,
        action: str,
        agent: Agent,
        version: str = "",
        *,
        before: str = "",
        after: str = "",
        detail: str = "",
    ) -> None:
        """See `Record.note`."""
        told = {"before": before, "after": after, "detail": detail}
        await self._database.write(lambda db: db.audit(actor, action, agent, version, **told))

    async def audit(
        self,
        *,
        agent: Agent | None = None,
        namespace: str = "",
        by: str = "",
        action: str = "",
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Audited]:
        """See `Record.audit`."""
        told = {
            "namespace": namespace,
            "actor": by,
            "action": action,
            "before": before if before is not None else 2**62,
            "most": limit,
        }
        if agent is not None:
            told |= values_of(agent)
        statement = sql.AUDITED if agent is None else sql.AUDITED_OF_AGENT
        return await self._database.glance(lambda db: [Audited(*row) for row in db.execute(statement, told)])

    async def forget_audited(self, seconds: float) -> int:
        """See `Record.forget_audited`."""
        return await self._database.write(lambda db: len(db.all(sql.FORGET_AUDITED, since=db.now - seconds)))

    # -- the log
    async def changes(self, after: int, limit: int) -> Changes:
        """See `Record.changes`."""

        def read(db: Connection) -> Changes:
            first, last = db.execute(sql.LOG_ENDS).one()
            rows = db.execute(sql.CHANGES, {"after": after, "most": limit}).fetchall()
            return Changes(tuple(Change(*row) for row in rows), last, after < first - 1 or after > last)

        return await self._database.read(read)

    async def last_change(self) -> int:
        """See `Record.last_change`."""
        return int(await self._database.glance(lambda db: db.execute(sql.LAST_CHANGE).scalar_one()))


def _database(url: str, keep: int, clock: Callable[[], float]) -> Database:
    if url.startswith("sqlite:"):
        return SqliteDatabase(url, keep=keep, clock=clock)
    if url.startswith(("postgresql:", "postgres:")):
        return PostgresDatabase(url, keep=keep)
    raise ConfigurationError(
        f"{url.partition('@')[2] or url!r} is not a store of the registry; use sqlite:///path/to/file.db or "
        "postgresql://user:password@host:5432/database"
    )
