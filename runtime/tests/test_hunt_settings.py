"""Settings that cannot work are refused with one message that says what to do, before anything is started."""

import sqlite3
from pathlib import Path

import pytest
from pydantic import ValidationError

from parley_core.database import connect, sqlite_path
from parley_core.errors import ConfigurationError
from parley_runtime.settings import HostSettings
from parley_runtime.stores.sqlite import SqliteStore


def a_directory(home: Path) -> Path:
    return home


def under_a_file(home: Path) -> Path:
    (home / "file").write_text("x")
    return home / "file" / "s.db"


def no_database(home: Path) -> Path:
    (home / "notes.txt").write_text("these are notes, not a database" * 10)
    return home / "notes.txt"


def where_nobody_may_write(home: Path) -> Path:
    return Path("/proc/nowhere/s.db")


@pytest.mark.parametrize("make", [a_directory, under_a_file, no_database, where_nobody_may_write])
async def test_a_store_that_cannot_be_is_refused_with_what_to_do(tmp_path: Path, make) -> None:
    with pytest.raises(ConfigurationError, match="name a file in a directory"):
        await SqliteStore(f"sqlite:///{make(tmp_path)}").open()


@pytest.mark.parametrize("name", ["50%20off.db", "what?.db", "no#1.db", "a b.db"])
def test_a_file_is_called_what_the_address_says(tmp_path: Path, name: str) -> None:
    path = sqlite_path(f"sqlite:///{tmp_path}/{name}")
    connection = connect(path)
    connection.execute("CREATE TABLE t(x)")
    connection.close()
    assert (tmp_path / name).exists()
    assert sqlite3.connect(tmp_path / name).execute("SELECT count(*) FROM t").fetchone() == (0,)


@pytest.mark.parametrize("role", ["", ",", "boss"])
def test_a_host_without_a_role_is_refused(role: str) -> None:
    with pytest.raises(ValidationError, match="role"):
        HostSettings(role=role)  # type: ignore[arg-type]
