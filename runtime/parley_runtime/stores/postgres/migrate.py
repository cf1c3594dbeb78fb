"""Bringing an agent's schema forward, beside live traffic, by however many processes start at once."""

import asyncio
import logging
import zlib
from pathlib import Path
from typing import Any

import asyncpg

from parley_core.errors import ConfigurationError
from parley_runtime.stores.postgres.connection import away

log = logging.getLogger(__name__)

HEAD = "0006"
"""The newest revision in migrations/versions (a test compares)."""
_FOLDER = Path(__file__).parent / "migrations"
_PATIENCE = 120.0
"""Seconds a migration may take, waiting for other processes' included."""
_TRIES, _PAUSE = 10, 2.0
_LOCK_TIMEOUT = 5000


async def migrate(dsn: str, schema: str, revision: str = HEAD) -> None:
    """Bring `schema` of the database at `dsn` to `revision`; nothing happens when it is there.

    Raises ConfigurationError when the schema is of a newer Parley.
    """
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        if await _revision(connection, schema) == revision:
            return
        # One migrates; the others find it done. A session lock, as indexes are built outside of transactions; asked for
        # again and again, as a waiting statement would hold up the building of indexes.
        key = zlib.crc32(f"parley:{schema}".encode())
        async with asyncio.timeout(_PATIENCE):
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        found = await _revision(connection, schema)
        if found == revision:
            return
        known = sorted(path.name[:4] for path in (_FOLDER / "versions").glob("[0-9]*.py"))
        if found and found not in known:
            raise ConfigurationError(
                f"the schema {schema} was made by a newer Parley (revision {found}, this one knows up to {HEAD}); "
                "run a version at least as new, or name another ?schema="
            )
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        async with asyncio.timeout(_PATIENCE):
            await _until_done(dsn, schema, revision)
        log.info("schema %s brought from revision %s to %s", schema, found or "none", revision)
    finally:
        await connection.close()


async def schemas(dsn: str) -> list[str]:
    """The schemas of the database at `dsn` that were ever migrated, in order. Raises Unavailable when it cannot be asked."""
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            rows = await connection.fetch(
                "SELECT nspname AS name FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
                "WHERE relname = 'alembic_version' AND relkind = 'r' ORDER BY 1",
                timeout=10,
            )
        finally:
            await connection.close(timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise away(error) from error
    return [row["name"] for row in rows]


async def _revision(connection: Any, schema: str) -> str:
    try:
        return await connection.fetchval(f'SELECT version_num FROM "{schema}".alembic_version') or ""
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return ""


async def _until_done(dsn: str, schema: str, revision: str) -> None:
    """Upgrade, again and again while others' transactions are in the way: what waits for them holds up those that come
    after, so it gives up soon, and leaves them room."""
    tries = 0
    while True:
        try:
            return await _upgrade(dsn, schema, revision)
        except asyncpg.LockNotAvailableError:
            if tries == 0:
                log.warning(
                    "the schema %s is brought forward when a transaction that goes on for long has ended",
                    schema,
                )
            tries += 1
            if tries == _TRIES:
                raise
            await asyncio.sleep(_PAUSE)


async def _upgrade(dsn: str, schema: str, revision: str) -> None:
    # Imported when there is something to migrate: a process that starts as usual is spared it.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each of its plugins

    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
        config.attributes["connection"] = connection
        config.attributes["schema"] = schema
        command.upgrade(config, revision)

    async def connect() -> Any:
        settings = {"search_path": f'"{schema}"', "lock_timeout": str(_LOCK_TIMEOUT)}
        return await asyncpg.connect(dsn, timeout=10, server_settings=settings)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        raise cause if isinstance(cause, asyncpg.PostgresError) else error from error
    finally:
        await engine.dispose()
