"""The schema comes forward by itself, once, beside live traffic, and never backward."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

import parley_runtime.stores.postgres.migrate as migrations
from parley_core.errors import ConfigurationError
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres.connection import address_of


def test_the_newest_revision_is_the_one_that_processes_look_for() -> None:
    found = sorted(
        path.name[:4] for path in (Path(migrations.__file__).parent / "migrations/versions").glob("[0-9]*.py")
    )
    assert found[-1] == migrations.HEAD


async def test_processes_that_start_at_once_migrate_once(postgres_dsn: str) -> None:
    stores = [PostgresStore(postgres_dsn, "one") for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.ping()
    await asyncio.gather(*(store.close() for store in stores))
    revisions = "SELECT string_agg(version_num, ',') FROM parley_one.alembic_version"
    assert await _fetch(postgres_dsn, revisions) == migrations.HEAD


async def test_agents_share_a_database_and_nothing_in_it(postgres_dsn: str) -> None:
    one, other = PostgresStore(postgres_dsn, "one"), PostgresStore(postgres_dsn, "One")
    assert one.address.schema != other.address.schema
    for store in (one, other):
        await store.open()
        await store.close()
    found = await _fetch(
        postgres_dsn, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'task'"
    )
    assert found == 2


async def test_a_schema_of_a_newer_parley_is_left_alone(postgres_dsn: str) -> None:
    store = PostgresStore(postgres_dsn, "one")
    await store.open()
    await store.close()
    await _fetch(postgres_dsn, "UPDATE parley_one.alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="newer Parley"):
        await PostgresStore(postgres_dsn, "one").open()


async def test_migrating_forward_holds_up_no_writer(postgres_dsn: str) -> None:
    address = address_of(postgres_dsn, "one")
    await migrations.migrate(address.dsn, address.schema, "0001")
    writer = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
    written, longest, stop = 0, 0.0, asyncio.Event()
    insert = "INSERT INTO task(id, owner, context_id, version, status_at) SELECT gen_random_uuid(), 'o', 'c', '1', 0 FROM generate_series(1, 50)"

    async def traffic() -> None:
        nonlocal written, longest
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            begun = loop.time()
            await writer.execute(insert)
            longest = max(longest, loop.time() - begun)
            written += 50

    running = asyncio.create_task(traffic())
    while written < 5000:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await migrations.migrate(address.dsn, address.schema)
    stop.set()
    await running
    await writer.close()
    assert longest < 5
    store = PostgresStore(postgres_dsn, "one")
    await store.open()
    await store.ping()
    await store.close()
    assert await _fetch(postgres_dsn, "SELECT count(*) FROM parley_one.task") == written


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u@127.0.0.1:1", "needs a database"),
        ("postgresql://u@127.0.0.1:1/d?schema=A-b", "cannot be used"),
    ],
)
def test_an_address_that_cannot_be_is_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        PostgresStore(url, "a")


async def test_a_server_or_database_that_is_not_there_is_said_so_without_the_password(
    postgres_dsn: str,
) -> None:
    for url in ("postgresql://u:hush@127.0.0.1:1/d", postgres_dsn.rpartition("/")[0] + "/nothing"):
        with pytest.raises(ConfigurationError, match="--store") as caught:
            await PostgresStore(url, "a").open()
        assert "hush" not in str(caught.value)


async def _fetch(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()
