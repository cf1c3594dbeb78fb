"""The record's database in a schema of PostgreSQL, however many processes use it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from parley_core.errors import ConfigurationError, Unavailable
from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.address import Address, address_of
from parley_registry.backends.sql.listener import Listener
from parley_registry.backends.sql.migrate import migrate_on
from parley_registry.backends.sql.transaction import Transaction
from parley_registry.backends.sql.writer import Writer

T = TypeVar("T")

CHANNEL = "parley_registry"
_CONNECT = 5.0
_STATEMENT = 10.0
_POOLED = 8
_TRIES = 3
_GONE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InternalClientError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InsufficientResourcesError,
)
"""The database, or the way to it, is gone, too busy, or one that takes no writes."""
_NOT_US = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""It does not let us in: a mistake at the start; later, while a password changes, it may again."""
_UNDONE = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)
"""Undone in favour of another; worth the same try again at once."""


class PostgresDatabase:
    """`Database` on `postgresql://…`."""

    def __init__(self, url: str, *, keep: int) -> None:
        self._address = address_of(url)
        self._keep = keep
        self._turns = Writer(self._commit)
        self._engine: AsyncEngine | None = None
        self._listener = Listener(
            lambda: _connect(self._address, "listen"), f"{CHANNEL}:{self._address.schema}"
        )

    async def open(self) -> None:
        """See `Database.open`."""
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: _connect(self._address, "pool"),
            pool_size=_POOLED,
            max_overflow=0,
            pool_timeout=_CONNECT,
        )
        try:
            async with asyncio.timeout(120):
                async with engine.begin() as connection:
                    await connection.execute(sql.PATIENT)
                    await connection.run_sync(migrate_on, self._address.schema)
        except BaseException as error:
            await engine.dispose()
            cause = _cause(error)
            if isinstance(cause, _NOT_US):
                raise ConfigurationError(
                    f"PostgreSQL does not let the registry in ({cause}); correct --store"
                ) from error
            if isinstance(cause, (*_GONE, TimeoutError, asyncpg.PostgresError)):
                raise _away(cause) from error
            raise
        self._engine = engine
        await self._listener.open()

    async def close(self) -> None:
        """See `Database.close`."""
        await self._turns.close()
        await self._listener.close()
        engine, self._engine = self._engine, None
        if engine is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await engine.dispose()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database.read`."""
        return await self._try(
            lambda connection: connection.run_sync(work), isolation_level="REPEATABLE READ"
        )

    async def glance(self, work: Callable[[Connection], T]) -> T:
        """See `Database.glance`."""
        return await self._try(lambda connection: connection.run_sync(work), isolation_level="AUTOCOMMIT")

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """See `Database.write`."""
        return await self._turns.write(work)

    async def _commit(self, work: Callable[[Transaction], T]) -> T:
        def run(connection: Connection) -> T:
            seq, audited, now = connection.execute(sql.TURN["postgresql"]).one()
            transaction = Transaction(connection, now, seq, audited)
            result = work(transaction)
            transaction.finish(self._keep)
            if transaction.changed:
                connection.execute(sql.TELL, {"channel": self._listener.channel})
            return result

        return await self._try(lambda connection: connection.run_sync(run))

    async def beat(self, work: Callable[[Connection, float], T]) -> T:
        """See `Database.beat`."""

        def run(connection: Connection) -> T:
            connection.execute(sql.IN_NO_HURRY)
            return work(connection, connection.execute(sql.CLOCK).scalar_one())

        return await self._try(lambda connection: connection.run_sync(run))

    def listen(self, heard: Callable[[], None]) -> None:
        """See `Database.listen`."""
        self._listener.on(heard)

    async def _try(self, run: Callable[[AsyncConnection], Awaitable[T]], **options: Any) -> T:
        """`run` in a transaction; again, when it was certainly undone or its connection was one of before a restart."""
        tries = 0
        while True:
            tries += 1
            committing = False
            engine = self._engine
            if engine is None:
                raise Unavailable("the registry is shutting down; try again elsewhere")
            try:
                async with asyncio.timeout(_STATEMENT + _CONNECT):
                    async with engine.execution_options(**options).connect() as connection:
                        result = await run(connection)
                        committing = True
                        await connection.commit()
                        return result
            except (
                DBAPIError,
                OSError,
                TimeoutError,
                PoolTimeout,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
            ) as error:
                cause = _cause(error)
                again = isinstance(cause, _UNDONE) or (
                    isinstance(error, DBAPIError) and error.connection_invalidated and not committing
                )
                if again and tries < _TRIES:
                    continue
                if isinstance(cause, (*_GONE, *_NOT_US, *_UNDONE, TimeoutError, PoolTimeout)) or again:
                    raise _away(cause) from error
                raise


async def _connect(address: Address, name: str) -> Any:
    settings = {
        "search_path": f'"{address.schema}"',
        "application_name": f"parley registry {name}",
        "jit": "off",
        "statement_timeout": str(int(_STATEMENT * 1000)),
        "idle_in_transaction_session_timeout": "15000",
        "lock_timeout": "8000",
    }
    return await asyncpg.connect(
        address.dsn, timeout=_CONNECT, command_timeout=_STATEMENT + 2, server_settings=settings
    )


def _cause(error: BaseException) -> BaseException:
    """What the driver said."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _away(cause: BaseException) -> Unavailable:
    # Errors of connections may quote the address, so only their kind is said.
    detail = str(cause) if isinstance(cause, asyncpg.PostgresError) else type(cause).__name__
    return Unavailable(f"the registry's database does not answer now ({detail}); try again")
