"""Bringing the schema forward, by however many processes start at once: one does it, the others find it done."""

import logging
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from parley_core.errors import ConfigurationError

_FOLDER = Path(__file__).parent / "migrations"
HEAD = "0002"
"""The newest revision in migrations/versions (a test compares)."""

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('parley:registry'))")


def migrate(engine: Engine) -> None:
    """`migrate_on` in a transaction of its own."""
    with engine.begin() as connection:
        migrate_on(connection)


def migrate_on(connection: Connection, schema: str = "") -> None:
    """Bring the schema of this connection, which is in a transaction, to HEAD; nothing happens when it is there.

    Raises ConfigurationError when it was made by a newer Parley.
    """
    if schema:
        # On SQLite the transaction that was begun is the lock.
        connection.execute(_LOCK)
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    found = _revision(connection, schema)
    if found == HEAD:
        return
    known = sorted(path.name[:4] for path in (_FOLDER / "versions").glob("[0-9]*.py"))
    if found not in ("", *known):
        raise ConfigurationError(
            f"the registry's database was made by a newer Parley (revision {found}, this one knows up to {HEAD}); "
            "run a version at least as new, or name another --store"
        )
    # Imported when there is something to migrate: a process that starts as usual is spared it.
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each of its plugins
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def _revision(connection: Connection, schema: str) -> str:
    tables = inspect(connection)
    if not tables.has_table("alembic_version", schema=schema or None):
        if not schema and tables.get_table_names():
            raise ConfigurationError(
                "the file given as --store is a database of something else, or of a Parley before its registry had "
                "namespaces; name another file"
            )
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
