"""The record's database in one SQLite file: one thread that writes, one that reads."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.pool import StaticPool

from parley_core.database import connect, sqlite_path
from parley_core.errors import ConfigurationError, Unavailable
from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.migrate import migrate
from parley_registry.backends.sql.transaction import Transaction
from parley_registry.backends.sql.writer import Writer

T = TypeVar("T")


class SqliteDatabase:
    """`Database` on `sqlite:///file.db`."""

    def __init__(self, url: str, *, keep: int, clock: Callable[[], float]) -> None:
        self._path = sqlite_path(url)
        self._keep = keep
        self._clock = clock
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="registry-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="registry-read")
        self._turns = Writer(self._commit)
        self._writing: Engine | None = None
        self._reading: Engine | None = None

    async def open(self) -> None:
        """See `Database.open`."""

        def start() -> None:
            try:
                writing = self._engine(read_only=False)
                migrate(writing)
                with (
                    writing.begin() as connection
                ):  # or a file that may only be read is found out by the first publish
                    connection.execute(sql.STILL)
                self._writing, self._reading = writing, self._engine(read_only=True)
            except (DBAPIError, sqlite3.Error) as error:
                reason = error.orig if isinstance(error, DBAPIError) else error
                raise ConfigurationError(
                    f"the registry's file {self._path} cannot be used ({reason}); have this user read and write it and its "
                    "directory, or name another with --store"
                ) from error

        await self._in(self._writer, start)

    async def close(self) -> None:
        """See `Database.close`."""

        def end() -> None:
            for engine in (self._reading, self._writing):
                if engine is not None:
                    engine.dispose()
            self._reading = self._writing = None

        await self._turns.close()
        self._reader.shutdown()
        await self._in(self._writer, end)
        self._writer.shutdown()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`."""

        def run() -> T:
            with _of(self._reading).begin() as connection:
                return work(connection)

        return await self._in(self._reader, run)

    async def glance(self, work: Callable[[Connection], T]) -> T:
        """See `Database.glance`."""
        return await self.read(work)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """See `Database.write`."""
        return await self._turns.write(work)

    async def _commit(self, work: Callable[[Transaction], T]) -> T:
        def run() -> T:
            with _of(self._writing).begin() as connection:
                seq, audited, _ = connection.execute(sql.TURN["sqlite"]).one()
                transaction = Transaction(connection, self._clock(), seq, audited)
                result = work(transaction)
                transaction.finish(self._keep)
            return result

        return await self._in(self._writer, run)

    async def beat(self, work: Callable[[Connection, float], T]) -> T:
        """See `Database.beat`."""

        def run() -> T:
            with _of(self._writing).begin() as connection:
                return work(connection, self._clock())

        return await self._in(self._writer, run)

    def listen(self, heard: Callable[[], None]) -> None:
        """Nothing is told between the processes on one file; the poll is cheap."""

    def _engine(self, *, read_only: bool) -> Engine:
        """An engine of one connection that begins transactions itself (the driver's own way leaves DDL out of them)."""
        engine = create_engine(
            "sqlite://",
            creator=lambda: connect(self._path, read_only=read_only),
            poolclass=StaticPool,
            query_cache_size=200,
        )
        begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    async def _in(self, executor: ThreadPoolExecutor, run: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, run)
        except (IntegrityError, ProgrammingError):
            raise  # a mistake of ours
        except DBAPIError as error:
            raise Unavailable(f"the registry's file does not answer now ({error.orig}); try again") from error
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise Unavailable("the registry is shutting down; try again elsewhere") from error
            raise


def _of(engine: Engine | None) -> Engine:
    if engine is None:
        raise Unavailable("the registry is shutting down; try again elsewhere")
    return engine
