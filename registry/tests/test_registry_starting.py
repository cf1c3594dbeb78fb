"""Starting on a store: killed in the middle of making the schema, or on a file that may only be read."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from record_backend import publish

from parley_registry.backends.sql import SqlRecord

pytestmark = pytest.mark.processes

KILLED = """
import asyncio, os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from parley_registry.backends.sql import SqlRecord

left = int(sys.argv[2])

@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *_):
    global left
    left -= statement.lstrip().startswith(("CREATE", "INSERT", "UPDATE"))
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(SqlRecord(sys.argv[1]).open())
"""
STATEMENTS = (1, 4, 9, 15)
"""After so many statements that make something the process is killed; then it starts again."""

READ_ONLY = """
import os, sys
import parley_registry.service
from parley_registry.__main__ import main

if os.getuid() == 0:
    os.setuid(65534)  # root may write everything
sys.exit(main(["--listen", "127.0.0.1:0", "--store", "sqlite:///" + sys.argv[1]]))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_process_that_is_killed_while_it_makes_the_schema_leaves_a_store_that_can_be_used(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/r.db" if kind == "sqlite" else request.getfixturevalue("postgres_dsn")
    for number in STATEMENTS:
        ended = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", KILLED, url, str(number)], check=False
        )
        assert ended.returncode == -signal.SIGKILL, number
    record = SqlRecord(url)
    await record.open()
    await publish(record, "coder")
    assert await record.last_change() == 1
    await record.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that other users find the way to, as they do not to pytest's."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        yield Path(made)


@pytest.mark.parametrize("mode", [0o777, 0o555])
def test_a_file_that_may_only_be_read_is_said_to_be_at_the_start(folder: Path, mode: int) -> None:
    file = folder / "r.db"
    asyncio.run(made(file))
    file.chmod(0o444)
    folder.chmod(mode)
    ended = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    folder.chmod(0o777)
    assert ended.returncode == 2, ended.stderr
    assert "readonly database" in ended.stderr
    assert "this user" in ended.stderr
    assert "Traceback" not in ended.stderr


async def made(file: Path) -> None:
    record = SqlRecord(f"sqlite:///{file}")
    await record.open()
    await record.close()
