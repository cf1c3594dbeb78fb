"""The record on each of its backends, for the contract tests: `backend` is one, `record` is opened on it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from registry_service import card_json

from parley_registry.audit import NOBODY, Actor
from parley_registry.backends.sql import SqlRecord
from parley_registry.card import CheckedCard, check_card
from parley_registry.entry import Agent, Change, Instance, Key
from parley_registry.record import Published, Record

PUBLIC = "public"
CODER = Agent(PUBLIC, "coder")
AT_1, AT_2 = Instance("one", "http://127.0.0.1:9991"), Instance("two", "http://127.0.0.1:9992")


class Backend:
    """A kind of record and where it is kept; any number of records can be opened on it, as many processes would."""

    def __init__(self, kind: str, store: str) -> None:
        self.kind = kind
        self.store = store
        self._opened = AsyncExitStack()

    async def open(self, **options: Any) -> Record:
        record = SqlRecord(self.store, **options)
        await record.open()
        self._opened.push_async_callback(record.close)
        return record

    async def close(self) -> None:
        await self._opened.aclose()


@pytest.fixture(params=["sqlite", "postgres"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Each of the backends in turn, empty."""
    if request.param == "sqlite":
        backend = Backend("sqlite", f"sqlite:///{tmp_path}/registry.db")
    else:
        backend = Backend("postgres", request.getfixturevalue("postgres_dsn"))
    yield backend
    await backend.close()


@pytest.fixture
async def record(backend: Backend) -> Record:
    return await backend.open()


def checked(name: str = "coder", version: str = "1.0.0", **changes: Any) -> CheckedCard:
    return check_card(card_json(name, version, **changes))


async def publish(
    record: Record,
    name: str = "coder",
    version: str = "1.0.0",
    *,
    namespace: str = PUBLIC,
    instance: Instance | None = None,
    source: str = "",
    actor: Actor = NOBODY,
    **changes: Any,
) -> Published:
    card = checked(name, version, **changes)
    return await record.publish(card, namespace=namespace, instance=instance, source=source, actor=actor)


def coder(version: str = "1.0.0") -> Key:
    return Key(*CODER, version)


async def told(record: Record, after: int = 0) -> list[tuple[str, str]]:
    """Kind and version of all changes after one."""
    return [(change.kind, change.version) for change in await log(record, after)]


async def log(record: Record, after: int = 0) -> list[Change]:
    return list((await record.changes(after, 10_000)).changes)
