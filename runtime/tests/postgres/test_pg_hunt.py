"""What commits between a statement's sight and its locks, what a failover leaves behind, and limits that cannot be kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from a2a.types import a2a_pb2 as pb

import parley_runtime.stores.postgres.migrate as migrations
from parley_core.errors import ConfigurationError, Unavailable
from parley_runtime.store import Accepted, Append, Limits, NewEvent, NewMessage, Overloaded, Work
from parley_runtime.stores.postgres import PostgresStore, accepting, leasing, retaining
from parley_runtime.stores.postgres import statements as sql
from parley_runtime.stores.postgres.connection import Address, address_of
from parley_runtime.stores.postgres.listener import Listener, Notifier

WORKING, COMPLETED = 2, 3


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(postgres_dsn, "a")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def beside(store: PostgresStore) -> AsyncIterator[Any]:
    """A connection of another process."""
    address = store.address
    connection = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
    yield connection
    await connection.close()


def message(task: str, **changes: Any) -> NewMessage:
    values = {"message_id": f"m-{task}", "follow_up": False, "new_context_id": f"c-{task}", **changes}
    fixed = {"owner": "o", "digest": b"d", "task_id": task, "context_id": "", "version": "1", "request": b"r"}
    return NewMessage(**fixed, traceparent="", **values)


def append(work: Work, first: int, state: int, *, ends: bool = False, count: int = 1) -> Append:
    events = [NewEvent(b"{}", state)] * count
    return Append(work.task_id, work.epoch, work.number, first, events, ends=ends)


async def running(store: PostgresStore, task: str = "t") -> Work:
    await store.register_worker("w", "1", 60)
    work = (await store.accept(message(task), take_as="w")).work
    assert work is not None
    await store.append(append(work, 1, WORKING))
    return work


async def test_a_follow_up_and_its_push_that_commit_while_the_end_waits_for_them_are_seen(
    store: PostgresStore, beside: Any
) -> None:
    work = await running(store)
    push = pb.TaskPushNotificationConfig(id="p", task_id="t", url="http://receiver")
    follow_up = message("t", message_id="late", follow_up=True, push=push.SerializeToString())
    transaction = beside.transaction()
    await transaction.start()
    accept = accepting.Accepting(Limits)
    await accept.follow_ups(beside, [accepting.Request(follow_up, "")], False)
    end = store.append(append(work, 2, COMPLETED, ends=True))
    await _blocked(beside)
    await transaction.commit()
    assert len((await end).events) == 1
    assert await beside.fetchval("SELECT count(*) FROM outbox WHERE generation = 2") == 1
    assert await beside.fetchval("SELECT count(*) FROM work WHERE state < 2") == 0


async def test_of_a_task_that_has_ended_nothing_is_run_whatever_its_work_says(
    store: PostgresStore, beside: Any
) -> None:
    work = await running(store)
    await store.append(append(work, 2, COMPLETED, ends=True))
    await beside.execute("UPDATE work SET state = 0, worker = ''")
    await store.release("t", work.epoch, work.number)
    assert not (await store.take("w", "1", 5)).work


async def test_a_task_that_was_run_here_before_is_given_back_when_its_next_lease_was_not_heard_of(
    store: PostgresStore, beside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_runtime.stores.postgres.upkeep._UNHEARD", 0.2)
    work = await running(store)
    await store.finish("t", work.epoch, work.number)
    await store.accept(message("t", message_id="second", follow_up=True))
    await leasing.take(beside, "w", "1", 1, Limits())  # as if the answer had been lost
    await asyncio.sleep(0.3)
    await store._upkeep.give_back_unheard()
    assert await store.held("w") == {}
    [again] = (await store.take("w", "1", 1)).work
    await asyncio.sleep(0.3)
    await store._upkeep.give_back_unheard()
    assert await store.held("w") == {"t": again.epoch}  # of this one it has heard


async def test_a_database_that_takes_no_writes_for_a_while_is_one_that_is_away(
    own_postgres: Callable[..., Any],
) -> None:
    server = await asyncio.to_thread(own_postgres)
    store = PostgresStore(server.dsn, "a")
    await store.open()
    try:
        work = await running(store)
        await asyncio.to_thread(_read_only, server, "on")
        held = store.append(append(work, 2, WORKING))
        calls = (store.accept(message("other")), store.take("w", "1", 1), store.sweep())
        for refused in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(refused, Unavailable)
            assert "read-only" in str(refused)
        await asyncio.to_thread(_read_only, server, "off")
        assert len((await held).events) == 1
        await store.accept(message("other"))
        assert store._upkeep._task is not None
        assert not store._upkeep._task.done()
    finally:
        await store.close()


def _read_only(server: Any, value: str) -> None:
    server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    server.execute("SELECT pg_reload_conf()")
    until = time.monotonic() + 10
    while (
        server.execute("SHOW default_transaction_read_only").strip() != value
    ):  # told to all sessions, in a moment
        assert time.monotonic() < until
        time.sleep(0.02)


async def test_a_server_without_a_free_connection_is_named_as_such(own_postgres: Callable[..., Any]) -> None:
    server = await asyncio.to_thread(
        own_postgres, settings={"max_connections": "8", "superuser_reserved_connections": "0"}
    )
    taken = [await asyncpg.connect(server.dsn) for _ in range(7)]
    try:
        store = PostgresStore(server.dsn, "a")
        with pytest.raises(ConfigurationError, match="max_connections"):
            await store.open()
        await store.close()
    finally:
        for connection in taken:
            await connection.close()


@pytest.mark.parametrize("part", ["se/cret@host", "user:pass@host:99999", "user:pass@[::1"])
def test_an_address_that_cannot_be_read_says_how_to_write_it_and_nothing_of_the_password(part: str) -> None:
    with pytest.raises(ConfigurationError, match="%2F") as refused:
        address_of(f"postgresql://user:{part}/db", "a")
    assert "cret" not in str(refused.value)
    assert "pass@" not in str(refused.value)


@pytest.mark.parametrize("hosts", ["h", "h:5432", "h1:5432,h2:5433", "[::1]:5432", ""])
def test_addresses_of_one_host_and_of_several_are_taken(hosts: str) -> None:
    assert address_of(f"postgresql://u:p%40ss@{hosts}/db", "a").schema == "parley_a"


async def test_what_follows_the_address_and_is_wrong_is_told(postgres_dsn: str) -> None:
    for query in ("sslmode=bogus", "no_such_setting=1"):
        with pytest.raises(ConfigurationError, match=r"check what follows the \?"):
            await PostgresStore(f"{postgres_dsn}?{query}", "a").open()


async def test_migrating_waits_for_a_transaction_that_goes_on_for_long(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_PAUSE", 0.1)
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", 200)
    address = address_of(postgres_dsn, "one")
    await migrations.migrate(address.dsn, address.schema, "0001")
    long = await asyncpg.connect(address.dsn, server_settings={"search_path": address.schema})
    transaction = long.transaction()
    await transaction.start()
    await long.fetch("SELECT count(*) FROM task")
    migrating = asyncio.create_task(migrations.migrate(address.dsn, address.schema))
    await asyncio.sleep(1)
    assert not migrating.done()
    await transaction.rollback()
    await migrating
    assert not await long.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
    await long.close()


@pytest.mark.parametrize(
    "given",
    [
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"burst": 10**30},
        {"backlog": 2**70},
        {"weights": {"a": float("nan")}},
        {"weights": {"a": float("inf")}},
    ],
)
def test_limits_that_no_store_could_keep_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at most|from"):
        Limits(**given)


async def test_long_logs_go_page_by_page(
    store: PostgresStore, beside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retaining, "_EVENTS", 7)
    for task, count in (("a", 20), ("b", 1), ("c", 5), ("d", 9)):
        work = await running(store, task)
        await store.append(append(work, 2, COMPLETED, ends=True, count=count))
    await store.accept(message("live"))
    assert await store.retain(-1, 1e9) == 4
    assert await beside.fetchval("SELECT count(*) FROM event") == 0
    assert (await store.load("a")).log_from == 22  # type: ignore[union-attr]
    assert await store.retain(-1, -1) == 4
    assert await beside.fetch("SELECT id FROM task") == [("live",)]


async def test_requests_to_cancel_are_found_at_once_behind_a_long_backlog(
    store: PostgresStore, beside: Any
) -> None:
    await beside.execute(
        "INSERT INTO queue(task_id, number, version, priority, rank, since) SELECT n::text, 1, '1', 3, n, n FROM generate_series(1, 20000) n"
    )
    await beside.execute("ANALYZE queue")
    plan = await beside.fetch("EXPLAIN (ANALYZE, BUFFERS) " + sql.TAKE_CANCELS, "w", "1", 5)
    assert not [line for (line,) in plan if "Rows Removed" in line]


async def test_follow_ups_of_one_task_are_no_way_around_the_backlog(store: PostgresStore) -> None:
    await running(store)
    await store.set_limits(Limits(backlog=3))
    found = await asyncio.gather(
        *(store.accept(message("t", message_id=f"f{n}", follow_up=True)) for n in range(6)),
        return_exceptions=True,
    )
    assert [type(one) for one in found] == [Accepted] * 3 + [Overloaded] * 3


async def test_what_the_quota_has_left_is_told(store: PostgresStore) -> None:
    assert (await store.queue_state()).quota is None
    await store.set_limits(Limits(rate=0.001, burst=3))
    assert (await store.queue_state()).quota == 3
    await store.accept(message("waits"))
    await store.take("w", "1", 5)
    left = (await store.queue_state()).quota
    assert left is not None
    assert left < 3


async def test_a_channel_that_is_wanted_again_while_it_is_left_is_heard(postgres_dsn: str) -> None:
    address = Address(postgres_dsn, "public")
    listener, notifier = Listener(address), Notifier(address)
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    await notifier.open()
    await listener.open()
    try:
        listener.on("x", heard.put_nowait)
        assert await asyncio.wait_for(heard.get(), 60) is None
        for _ in range(20):
            listener.off("x")
            await asyncio.sleep(0)  # it begins to leave
            await asyncio.sleep(0)
            if not listener.on("x", heard.put_nowait):
                assert await asyncio.wait_for(heard.get(), 60) is None
            notifier.tell("x", ["told"])
            assert await asyncio.wait_for(heard.get(), 60) == "told"
    finally:
        await notifier.close()
        await listener.close()


async def _blocked(beside: Any) -> None:
    """Return when somebody waits for a lock."""
    async with asyncio.timeout(60):
        while not await beside.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_log_that_was_locked_at_one_pass_is_compacted_at_a_later_one(
    store: PostgresStore, beside: Any
) -> None:
    for task in ("held", "free"):
        await store.append(append(await running(store, task), 2, COMPLETED, ends=True))
    async with beside.transaction():
        await beside.execute("SELECT FROM task WHERE id = 'held' FOR UPDATE")
        assert await store.retain(-1, 1e9) == 1
    assert await store.retain(-1, 1e9) == 1
    assert await store.retain(-1, 1e9) == 0
    assert [await store.events(task, 0) for task in ("held", "free")] == [[], []]


async def test_looking_for_logs_to_compact_passes_over_nothing_that_was_compacted(
    store: PostgresStore, beside: Any
) -> None:
    await beside.execute(
        "INSERT INTO task(id, owner, context_id, version, status_at, state, ended_at, log_from)"
        " SELECT n, 'o', 'c', '1', 0, 3, n, 2 FROM generate_series(1, 20000) n"
    )
    await beside.execute("ANALYZE task")
    query = sql.COMPACTABLE.replace("$1::float8", "0")
    plan = "\n".join(row[0] for row in await beside.fetch(f"EXPLAIN {query}"))
    assert "task_compactable" in plan
