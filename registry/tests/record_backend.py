"""The record on each of its backends, for the contract tests: `backend` is one, `record` is opened on it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from registry_service import card_json

from parley_registry.audit import NOBODY, Actor
from parley_registry.backends.nacos import NacosRecord
from parley_registry.backends.sql import SqlRecord
from parley_registry.card import CheckedCard, check_card
from parley_registry.entry import Agent, Change, Instance, Key
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.removal import remove
from parley_registry.nacos.server import Nacos
from parley_registry.record import Published, Record

_RUN = uuid4().hex[:10]
PUBLIC, TEAM_B, OTHER = f"public-{_RUN}", f"team-b-{_RUN}", f"other-{_RUN}"
"""The namespaces that these tests use, of their own in each process: all share one Nacos."""
CODER = Agent(PUBLIC, "coder")
AT_1, AT_2 = Instance("one", "http://127.0.0.1:9991"), Instance("two", "http://127.0.0.1:9992")


class Backend:
    """A kind of record and where it is kept; any number of records can be opened on it, as many processes would."""

    def __init__(self, kind: str, store: str, nacos: str = "") -> None:
        self.kind = kind
        self.store = store
        self.nacos = nacos
        self._opened = AsyncExitStack()

    async def open(self, **options: Any) -> Record:
        record: SqlRecord | NacosRecord = (
            NacosRecord(NacosAddress.parse(self.nacos), self.store, **options)
            if self.nacos
            else SqlRecord(self.store, **options)
        )
        await record.open()
        self._opened.push_async_callback(record.close)
        return record

    async def close(self) -> None:
        await self._opened.aclose()


@pytest.fixture(params=["sqlite", "postgres", pytest.param("nacos", marks=pytest.mark.cluster)])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Each of the backends in turn, empty."""
    if request.param == "sqlite":
        backend = Backend("sqlite", f"sqlite:///{tmp_path}/registry.db")
    elif request.param == "postgres":
        backend = Backend("postgres", request.getfixturevalue("postgres_dsn"))
    else:
        parts = urlsplit(request.getfixturevalue("nacos_url"))
        nacos = urlunsplit(parts._replace(path=f"/{PUBLIC},{TEAM_B},{OTHER}"))
        await empty(nacos)
        backend = Backend("nacos", f"sqlite:///{tmp_path}/copy.db", nacos)
    yield backend
    await backend.close()


@pytest.fixture
async def record(backend: Backend) -> Record:
    return await backend.open()


async def empty(url: str) -> None:
    """Delete all agents of these namespaces, and what belongs to them."""
    async with Nacos(NacosAddress.parse(url)) as nacos:
        for namespace in nacos.address.namespaces:
            for called in {called for called, _ in (await nacos.agents.listed(namespace)).values()}:
                for one in await nacos.agents.all_versions(namespace, called):
                    await remove(nacos, Agent(namespace, one.card.checked.card.name), None)


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
