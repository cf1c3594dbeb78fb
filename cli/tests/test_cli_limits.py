"""`parley limits` on a real store, beside the processes that use it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parley_runtime.store import Limits, NewMessage
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres.migrate import schemas
from parley_runtime.stores.sqlite import SqliteStore

PARLEY = str(Path(sys.executable).with_name("parley"))


def parley(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PARLEY_")}
    environment["PARLEY_HOME"] = str(home)
    return subprocess.run([PARLEY, *words], env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An agent's store where the platform of this home would keep it, with one message waiting."""
    store = SqliteStore(f"sqlite:///{tmp_path}/data/coder.db")
    await store.open()
    await store.accept(NewMessage("o", "m", b"d", "t", False, "", "c", "1", b"r", ""))
    yield store
    await store.close()


async def run(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(parley, home, *words)


async def test_limits_are_shown_as_they_are(store: SqliteStore, tmp_path: Path) -> None:
    done = await run(tmp_path, "limits", "coder")
    assert done.returncode == 0, done.stderr
    shown = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert shown["concurrency"] == "as each process was started"
    assert shown["rate"] == "no quota"
    assert shown["backlog"] == "100000 messages"
    assert shown["waiting"].startswith("1, the oldest for")
    assert shown["running"] == "0"


async def test_what_is_given_is_changed_and_the_rest_stays(store: SqliteStore, tmp_path: Path) -> None:
    await run(tmp_path, "limits", "coder", "--rate", "2.5", "--burst", "4", "--weight", "alice=3")
    done = await run(tmp_path, "limits", "coder", "--backlog", "50", "--weight", "issuer|a=b=2", "--json")
    assert done.returncode == 0, done.stderr
    assert await store.limits() == Limits(0, 2.5, 4, 50, {"alice": 3.0, "issuer|a=b": 2.0})
    said = json.loads(done.stdout)
    assert (said["rate"], said["waiting"], said["waitingByPriority"]) == (2.5, 1, {"3": 1})
    assert 0 <= said["quotaLeft"] <= 4


async def test_a_weight_of_one_is_the_same_as_none(store: SqliteStore, tmp_path: Path) -> None:
    await store.set_limits(Limits(weights={"alice": 3.0, "bob": 2.0}))
    await run(tmp_path, "limits", "coder", "--weight", "alice=1")
    assert (await store.limits()).weights == {"bob": 2.0}


async def test_a_store_is_named_by_its_address(store: SqliteStore, tmp_path: Path) -> None:
    done = await run(tmp_path / "elsewhere", "limits", "--store", store.url, "--concurrency", "2")
    assert done.returncode == 0, done.stderr
    assert "2 in each process" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name an agent"),
        (("nobody",), "there are coder"),
        (("--store", "postgresql://u:p@127.0.0.1:1/d"), "name the agent too"),
        (("coder", "--weight", "alice"), "write it like alice=3"),
        (("coder", "--weight", "alice=0"), "write it like alice=3"),
        (("--store", "sqlite:////nowhere/at/all.db"), "there is no store"),
        (("coder", "--burst", "0"), "burst"),
    ],
)
async def test_what_cannot_be_is_refused_in_a_line(
    store: SqliteStore, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = await run(tmp_path, "limits", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_name_that_no_agent_has_is_refused_and_makes_nothing(
    postgres_dsn: str, tmp_path: Path
) -> None:
    store = PostgresStore(postgres_dsn, "chapters")
    await store.open()
    await store.close()
    mistyped = await run(tmp_path, "limits", "chapterz", "--store", postgres_dsn, "--rate", "2")
    assert mistyped.returncode == 2
    assert "there is no agent 'chapterz' in this store; there are: chapters" in mistyped.stderr
    assert await schemas(postgres_dsn) == ["parley_chapters"]
    known = await run(tmp_path, "limits", "chapters", "--store", postgres_dsn, "--rate", "2")
    assert known.returncode == 0, known.stderr


async def test_a_database_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    done = await run(tmp_path, "limits", "coder", "--store", "postgresql://u:p@127.0.0.1:1/d")
    assert done.returncode != 0
    assert "there is no PostgreSQL at that address" in done.stderr
