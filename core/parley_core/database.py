"""SQLite files as Parley opens them: WAL, bounded waits, schema brought forward in numbered steps."""

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from parley_core.errors import ConfigurationError

_URL = re.compile(r"^sqlite:///(?P<path>.+)$")


def sqlite_path(url: str) -> Path:
    """The file that `sqlite:///relative.db` or `sqlite:////absolute.db` names.

    Raises ConfigurationError for any other kind of address.
    """
    match = _URL.match(url)
    if not match:
        raise ConfigurationError(f"{url!r} is not a store address; use sqlite:///path/to/file.db")
    return Path(match["path"]).expanduser()


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode, to be used from one thread at a time.

    NORMAL synchronisation in WAL mode: a killed process loses nothing that was committed; a power cut may
    lose the last commits but never corrupts the file.

    Raises ConfigurationError when there cannot be such a file, or it is something else than a database.
    """
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        return _opened(path, read_only)
    except (OSError, sqlite3.DatabaseError) as error:
        raise ConfigurationError(
            f"cannot use {path} as a database: {error}; name a file in a directory that this user may write to"
        ) from error


def _opened(path: Path, read_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={'ro' if read_only else 'rwc'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10.0,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA busy_timeout=10000")
        connection.execute("PRAGMA journal_mode=WAL") if not read_only else None
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-16384")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    """Bring the schema forward: `steps[n]` takes a file from version n to n + 1.

    Each step is one transaction together with its version number, so a crash between steps leaves a
    consistent file; several processes may call this at once on one file.

    Raises ConfigurationError when the file was written by a newer Parley.
    """
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(steps):
                raise ConfigurationError(
                    f"this file has schema {version}, this Parley knows {len(steps)}: "
                    "use the newer Parley that wrote it, or another file"
                )
            if version == len(steps):
                connection.execute("COMMIT")
                return
            for statement in _statements(steps[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _statements(script: str) -> list[str]:
    statements, pending = [], ""
    for line in script.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    return [s for s in statements if s]
