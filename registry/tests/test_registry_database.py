"""The record's database: made by whoever starts first, of no other Parley, away and back again."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from record_backend import AT_1, CODER, Backend, coder, publish
from registry_service import RegistryProcess, card_json

from engines.postgres import Postgres
from parley_core.errors import ConfigurationError, Unavailable
from parley_registry.backends.sql import SqlRecord, migrate
from parley_registry.backends.sql.address import address_of
from parley_registry.record import Record

pytestmark = pytest.mark.processes


def test_the_newest_revision_is_the_head() -> None:
    folder = Path(migrate.__file__).parent / "migrations" / "versions"
    assert max(path.name[:4] for path in folder.glob("[0-9]*.py")) == migrate.HEAD


async def test_many_that_start_at_once_make_one_schema(backend: Backend) -> None:
    records = await asyncio.gather(*(backend.open() for _ in range(6)))
    await asyncio.gather(*(publish(one, f"agent-{number}") for number, one in enumerate(records)))
    assert await records[0].last_change() == 6


async def test_a_schema_of_a_newer_parley_is_left_alone(tmp_path: Path) -> None:
    record = SqlRecord(f"sqlite:///{tmp_path}/r.db")
    await record.open()
    await record.close()
    with sqlite3.connect(tmp_path / "r.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="newer Parley"):
        await SqlRecord(f"sqlite:///{tmp_path}/r.db").open()


async def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "r.db") as db:
        db.execute("CREATE TABLE agents (name TEXT)")
    with pytest.raises(ConfigurationError, match="something else"):
        await SqlRecord(f"sqlite:///{tmp_path}/r.db").open()


@pytest.mark.parametrize(
    ("store", "why"),
    [
        ("mysql://localhost/x", "not a store"),
        ("postgresql://localhost", "needs a database"),
        ("postgresql://u:p/w@localhost/x", "no URL"),
        ("postgresql://localhost/x?schema=No-Way", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_is_refused_without_its_password(store: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        SqlRecord(store)
    assert "p/w" not in str(caught.value)


def test_an_address_may_name_its_schema_and_keeps_what_is_libpqs() -> None:
    address = address_of("postgresql://u:p@h:1/db?schema=other&sslmode=require")
    assert (address.dsn, address.schema) == ("postgresql://u:p@h:1/db?sslmode=require", "other")
    assert "u:p" not in repr(address)


async def test_two_registries_share_a_database_in_schemas_of_their_own(postgres_dsn: str) -> None:
    records = [SqlRecord(postgres_dsn), SqlRecord(f"{postgres_dsn}?schema=another")]
    for record in records:
        await record.open()
    try:
        await publish(records[0])
        assert await records[1].latest(CODER) is None
        assert await records[1].last_change() == 0
    finally:
        for record in records:
            await record.close()


async def test_changes_of_others_are_told_at_once(postgres_dsn: str) -> None:
    backend = Backend("postgres", postgres_dsn)
    here, there = await backend.open(), await backend.open()
    heard = asyncio.Event()
    there.listen(heard.set)
    try:
        async with asyncio.timeout(10):
            await heard.wait()  # of itself, once it listens
            heard.clear()
            await publish(here)
            await heard.wait()
    finally:
        await backend.close()


async def test_a_database_that_is_away_is_said_to_be_and_heals(
    own_postgres: Callable[..., Postgres],
) -> None:
    server = own_postgres()
    record = SqlRecord(server.create_database())
    await record.open()
    try:
        await publish(record, instance=AT_1)
        server.kill()
        for call in (
            record.latest(CODER),
            record.ping(),
            record.heartbeat(coder(), AT_1.id),
            publish(record),
        ):
            with pytest.raises(Unavailable, match="try again"):
                await call
        server.start()
        await answers(record)
        assert await record.heartbeat(coder(), AT_1.id)
        assert not (await publish(record)).created
        server.restart("immediate")
        entry = await record.latest(CODER)
        assert entry is not None, "a connection of before the restart is made anew without anybody noticing"
    finally:
        await record.close()


async def test_a_service_on_postgresql_answers_503_meanwhile(own_postgres: Callable[..., Postgres]) -> None:
    server = own_postgres()
    with RegistryProcess(server.create_database()) as registry:
        async with httpx.AsyncClient(base_url=registry.url, trust_env=False, timeout=20) as http:
            assert (await http.post("/v1/agents", json={"card": card_json()})).status_code == 201
            server.kill()
            refused = await http.get("/v1/agents/coder")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert (await http.get("/readyz")).status_code == 503
            assert (await http.get("/healthz")).status_code == 200
            server.start()
            deadline = time.monotonic() + 20
            while (await http.get("/readyz")).status_code != 200:
                assert time.monotonic() < deadline, "not ready again within 20 s"
                await asyncio.sleep(0.1)
            assert (await http.get("/v1/agents/coder")).json()["version"] == "1.0.0"


async def answers(record: Record) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return await record.ping()
        except Unavailable:
            assert time.monotonic() < deadline, "it does not answer again within 20 s"
            await asyncio.sleep(0.1)
