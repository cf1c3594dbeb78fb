"""The record in one SQLite file: one thread that writes, one that reads, both in autocommit with short transactions."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from parley_core.database import connect, migrate, sqlite_path
from parley_core.errors import ConfigurationError, Unavailable
from parley_registry.backends import statements as sql
from parley_registry.backends.rows import entry as entry_of
from parley_registry.backends.rows import entry_row, stored, transaction
from parley_registry.card import CheckedCard
from parley_registry.entry import Agent, Change, Health, Instance, Key
from parley_registry.errors import LatestInUse, VersionConflict
from parley_registry.record import Changes, Published, Source, Stored
from parley_registry.versions import becomes_latest

T = TypeVar("T")


class SqlRecord:
    """`record.Record` on `sqlite:///file.db`. The newest `keep` changes are kept for watchers to resume from."""

    def __init__(self, url: str, *, keep: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        self._path = sqlite_path(url)
        self._keep = keep
        self._clock = clock
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="registry-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="registry-read")
        self._write_db: sqlite3.Connection | None = None
        self._read_db: sqlite3.Connection | None = None

    # -- life
    async def open(self) -> None:
        """See `Record.open`."""

        def start() -> None:
            try:
                self._write_db = connect(self._path)
                migrate(self._write_db, sql.SCHEMA)
                self._read_db = connect(self._path, read_only=True)
            except sqlite3.Error as error:
                raise ConfigurationError(
                    f"the registry's file {self._path} cannot be used ({error}); name another with --store"
                ) from error

        await self._in(self._writer, start)

    async def close(self) -> None:
        """See `Record.close`."""

        def end() -> None:
            for connection in (self._read_db, self._write_db):
                if connection:
                    connection.close()
            self._read_db = self._write_db = None

        self._reader.shutdown()
        await self._in(self._writer, end)
        self._writer.shutdown()

    async def ping(self) -> None:
        """See `Record.ping`."""
        await self._read(lambda db: db.execute(sql.PING).fetchone())

    # -- the catalogue
    async def publish(
        self, checked: CheckedCard, *, namespace: str, instance: Instance | None, source: str
    ) -> Published:
        """See `Record.publish`."""
        return await self._write(lambda db: self._publish(db, checked, namespace, instance, source))

    async def load(self, keys: Sequence[Key]) -> Sequence[Stored]:
        """See `Record.load`."""
        return await self._read(
            lambda db: [stored(db, row) for key in keys for row in db.execute(sql.ENTRY, key).fetchall()]
        )

    async def latest(self, agent: Agent) -> Stored | None:
        """See `Record.latest`."""

        def read(db: sqlite3.Connection) -> Stored | None:
            row = db.execute(sql.LATEST, agent).fetchone()
            return stored(db, row) if row else None

        return await self._read(read)

    async def versions(self, agent: Agent) -> Sequence[Stored]:
        """See `Record.versions`."""
        return await self._read(
            lambda db: [stored(db, row) for row in db.execute(sql.ENTRIES_OF_AGENT, agent).fetchall()]
        )

    async def set_latest(self, key: Key) -> Stored | None:
        """See `Record.set_latest`."""

        def write(db: sqlite3.Connection) -> Stored | None:
            row = db.execute(sql.ENTRY, key).fetchone()
            if row is None:
                return None
            if not row[4]:
                db.execute(sql.SET_LATEST, (key.version, *key.agent))
                db.execute(sql.TOUCH, (self._clock(), row[0]))
                self._log(db, "latest", key)
            return entry_of(db, key)

        return await self._write(write)

    async def delete(self, agent: Agent, version: str | None) -> bool:
        """See `Record.delete`."""
        return await self._write(lambda db: self._delete(db, agent, version))

    async def page(self, after: Key | None, limit: int) -> Sequence[Stored]:
        """See `Record.page`; by namespace, name and version."""

        def read(db: sqlite3.Connection) -> list[Stored]:
            rows = (
                db.execute(sql.NEXT_PAGE, (*after, limit)) if after else db.execute(sql.FIRST_PAGE, (limit,))
            )
            return [stored(db, row) for row in rows.fetchall()]

        return await self._read(read)

    # -- health
    async def heartbeat(self, key: Key, instance_id: str) -> bool:
        """See `Record.heartbeat`."""
        return await self._write(
            lambda db: db.execute(sql.HEARTBEAT, (self._clock(), *key, instance_id)).rowcount > 0
        )

    async def withdraw(self, key: Key, instance_id: str) -> None:
        """See `Record.withdraw`."""

        def write(db: sqlite3.Connection) -> None:
            self._lost(db, db.execute(sql.WITHDRAW, (*key, instance_id)).fetchall())

        await self._write(write)

    async def expire(self, seconds: float) -> int:
        """See `Record.expire`."""
        since = self._clock() - seconds
        if not await self._read(lambda db: db.execute(sql.ANY_EXPIRED, (since,)).fetchone()):
            return 0
        return await self._write(lambda db: self._lost(db, db.execute(sql.EXPIRE, (since,)).fetchall()))

    async def claim_sources(self, every: float, limit: int) -> Sequence[Source]:
        """See `Record.claim_sources`."""

        def write(db: sqlite3.Connection) -> list[Source]:
            now = self._clock()
            due = db.execute(sql.SOURCES_DUE, (now, limit)).fetchall()
            db.executemany(sql.LOOKED, [(now + every, namespace, name) for namespace, name, _ in due])
            return list(dict.fromkeys(Source(namespace, url) for namespace, _, url in due))

        if not await self._read(lambda db: db.execute(sql.SOURCES_DUE, (self._clock(), 1)).fetchone()):
            return []
        return await self._write(write)

    async def mark_source(self, source: Source, health: Health) -> None:
        """See `Record.mark_source`."""

        def write(db: sqlite3.Connection) -> None:
            for name, latest in db.execute(sql.AGENTS_OF_SOURCE, source).fetchall():
                for entry, version in db.execute(sql.ENTRY_IDS, (source.namespace, name)).fetchall():
                    if health == "down" or version == latest:
                        self._set_health(db, entry, health)

        await self._write(write)

    # -- the log
    async def changes(self, after: int, limit: int) -> Changes:
        """See `Record.changes`."""

        def read(db: sqlite3.Connection) -> Changes:
            with transaction(db, "BEGIN"):
                first, last = db.execute(sql.LOG_ENDS).fetchone()
                rows = db.execute(sql.CHANGES, (after, limit)).fetchall()
            return Changes(tuple(Change(*row) for row in rows), last, after < first - 1 or after > last)

        return await self._read(read)

    async def last_change(self) -> int:
        """See `Record.last_change`."""
        row = await self._read(lambda db: db.execute(sql.LAST_CHANGE).fetchone())
        return int(row[0])

    # -- inside one transaction
    def _publish(
        self,
        db: sqlite3.Connection,
        checked: CheckedCard,
        namespace: str,
        instance: Instance | None,
        source: str,
    ) -> Published:
        key, now = Key(namespace, checked.card.name, checked.card.version), self._clock()
        _, name, version = key
        agent = db.execute(sql.AGENT, key.agent).fetchone()
        if agent and agent[1] != source:
            raise _owned_elsewhere(name, agent[1])
        known = entry_row(db, key)
        if known is None:
            others = [row[0] for row in db.execute(sql.VERSIONS, key.agent).fetchall()]
            newest = becomes_latest(version, others) or bool(source)
            if agent is None:
                db.execute(sql.ADD_AGENT, (*key.agent, version, source, now))
            elif newest:
                db.execute(sql.SET_LATEST, (version, *key.agent))
            fresh = (*key, "unknown", checked.json, checked.digest, now)
            entry = db.execute(sql.ADD_ENTRY, fresh).fetchone()[0]
            self._log(db, "published", key)
            if newest and agent is not None:
                self._log(db, "latest", key)
        else:
            entry = known[0]
            if known[8] != checked.digest and not source:
                raise VersionConflict(
                    f"{name} {version} is already published with another card; a published version does not "
                    "change: raise the card's version and publish that"
                )
            if bytes(known[7]) != checked.json:
                db.execute(sql.REPLACE_CARD, (checked.json, checked.digest, now, entry))
                self._log(db, "published", key)
            if source and not known[4]:
                db.execute(sql.SET_LATEST, (version, *key.agent))
                self._log(db, "latest", key)
        if instance:
            db.execute(sql.ANNOUNCE, (entry, instance.id, instance.url, checked.interfaces, now, now))
        if instance or source:
            self._set_health(db, entry, "up")
        if source:
            for (other,) in db.execute(sql.OTHERS_OF_SOURCE, key).fetchall():
                self._set_health(db, other, "down")
        kept = entry_of(db, key)
        assert kept is not None
        return Published(kept, known is None)

    def _delete(self, db: sqlite3.Connection, agent: Agent, version: str | None) -> bool:
        known = db.execute(sql.AGENT, agent).fetchone()
        kept = [row[0] for row in db.execute(sql.VERSIONS, agent).fetchall()]
        going = kept if version is None else [one for one in kept if one == version]
        if known is None or not going:
            return False
        if len(going) < len(kept) and known[0] in going:
            raise LatestInUse(
                f"{version} is the latest version of {agent.name} and others exist; set another one as latest first, "
                "or delete the agent with all its versions"
            )
        for one in going:
            db.execute(sql.DROP_ENTRY, (*agent, one))
            self._log(db, "deleted", Key(*agent, one))
        if len(going) == len(kept):
            db.execute(sql.DROP_AGENT, agent)
        return True

    def _lost(self, db: sqlite3.Connection, gone: Sequence[tuple[int]]) -> int:
        down = 0
        for (entry,) in set(gone):
            if not db.execute(sql.HAS_INSTANCES, (entry,)).fetchone():
                down += self._set_health(db, entry, "down")
        return down

    def _set_health(self, db: sqlite3.Connection, entry: int, health: Health) -> bool:
        changed = db.execute(sql.SET_HEALTH, (health, self._clock(), entry, health)).fetchone()
        if changed:
            self._log(db, health, Key(*changed))
        return changed is not None

    def _log(self, db: sqlite3.Connection, kind: str, key: Key) -> None:
        seq = db.execute(sql.LOG, (kind, *key)).fetchone()[0]
        if seq % 256 == 0:
            db.execute(sql.TRIM_LOG, (seq - self._keep,))

    # -- threads
    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            db = self._write_db
            if db is None:
                raise Unavailable("the registry is shutting down; try again elsewhere")
            with transaction(db, "BEGIN IMMEDIATE"):
                return work(db)

        return await self._in(self._writer, run)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            if self._read_db is None:
                raise Unavailable("the registry is shutting down; try again elsewhere")
            return work(self._read_db)

        return await self._in(self._reader, run)

    async def _in(self, executor: ThreadPoolExecutor, run: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, run)
        except sqlite3.Error as error:
            raise Unavailable(f"the registry's file does not answer now ({error}); try again") from error
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise Unavailable("the registry is shutting down; try again elsewhere") from error
            raise


def _owned_elsewhere(name: str, source: str) -> VersionConflict:
    where = f"is registered from {source}" if source else "is published by its own host"
    return VersionConflict(
        f"an agent named {name!r} {where}; give this one another name, or delete that one first"
    )
