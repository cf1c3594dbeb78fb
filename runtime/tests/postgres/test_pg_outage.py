"""A PostgreSQL that goes away and comes back: callers are told within seconds, executors' events wait, all goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from parley_core.errors import Unavailable
from parley_runtime.bus import Wake
from parley_runtime.buses.postgres import PostgresBus
from parley_runtime.queues.postgres import PostgresQueue
from parley_runtime.store import Append, LoggedEvent, NewEvent, NewMessage, Work
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres.listener import Listener, Notifier

pytestmark = pytest.mark.processes

WORKING, COMPLETED = 2, 3


@pytest.fixture
async def server(own_postgres: Callable[..., Any]) -> Any:
    return await asyncio.to_thread(own_postgres)


@pytest.fixture
async def store(server: Any) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(server.dsn, "a")
    await opened.open()
    yield opened
    await opened.close()


def message(task: str) -> NewMessage:
    return NewMessage("o", f"m-{task}", b"d", task, False, "", f"c-{task}", "1", b"r", "")


def append(work: Work, first: int, state: int, *, ends: bool = False) -> Append:
    return Append(work.task_id, work.epoch, work.number, first, [NewEvent(b"{}", state)], ends=ends)


async def test_callers_are_told_and_events_wait_for_a_database_that_is_gone(
    server: Any, store: PostgresStore
) -> None:
    await store.register_worker("w", "1", 30)
    accepted = await store.accept(message("t"), take_as="w")
    assert accepted.work is not None
    await asyncio.to_thread(server.kill)
    begun = time.monotonic()
    held = store.append(append(accepted.work, 1, WORKING))
    for call in (store.accept(message("other")), store.load("t"), store.ping(), store.queue_state()):
        with pytest.raises(Unavailable, match="try again"):
            await call
    assert time.monotonic() - begun < 60
    assert not held.done()
    await asyncio.to_thread(server.start)
    assert len((await held).events) == 1
    assert len((await store.append(append(accepted.work, 2, COMPLETED, ends=True))).events) == 1
    assert not (await store.accept(message("other"))).duplicate
    assert (await store.load("t")).generation == 2  # type: ignore[union-attr]


async def test_an_append_whose_answer_was_lost_is_not_made_twice(server: Any, store: PostgresStore) -> None:
    await store.register_worker("w", "1", 60)
    works = [(await store.accept(message(f"t{n}"), take_as="w")).work for n in range(8)]
    ended = asyncio.Event()

    async def execute(work: Work) -> int:
        generation = 0
        while not ended.is_set() or generation == 0:
            generation += 1
            logged = (await store.append(append(work, generation, WORKING))).events
            assert [event.generation for event in logged] == [generation]
        return generation

    running = [asyncio.create_task(execute(work)) for work in works if work is not None]
    for _ in range(3):
        await asyncio.sleep(0.4)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    ended.set()
    for work, generations in zip(works, await asyncio.gather(*running), strict=True):
        assert work is not None
        log = await store.events(work.task_id, 0, 100_000)
        assert [event.generation for event in log] == list(range(1, generations + 1))


async def test_work_leased_by_an_answer_that_never_came_is_given_back(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_runtime.stores.postgres.upkeep._UNHEARD", 0.5)
    monkeypatch.setattr("parley_runtime.stores.postgres.upkeep._LOOK_FOR_UNHEARD", 0.2)
    await store.register_worker("w", "1", 60)
    await store.accept(message("t"), take_as="w")
    store._upkeep._known.clear()  # as if the connection had died before the answer
    await store._upkeep.close()
    await store._upkeep.open()
    async with asyncio.timeout(60):
        while not (taken := (await store.take("w", "1", 5)).work):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (taken[0].task_id, taken[0].attempt) == ("t", 1)


async def test_readers_and_workers_hear_again_after_the_database_was_away(
    server: Any, store: PostgresStore
) -> None:
    parts = [(Listener(store.address), Notifier(store.address)) for _ in range(2)]
    buses = [PostgresBus(*pair, store.address.key) for pair in parts]
    queues = [PostgresQueue(*pair, store.address.key) for pair in parts]
    woken = asyncio.Event()
    for pair in parts:
        for part in pair:
            await part.open()
    try:
        queues[1].attend(woken.set, lambda: 1)
        ear = buses[1].subscribe("t", "c")
        assert await ear.next(60) == Wake()  # from now on it hears; what was before is in the store
        await asyncio.to_thread(server.kill)
        async with asyncio.timeout(60):
            while not buses[1].status():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.to_thread(server.start)
        assert await ear.next(60) == Wake()
        event = LoggedEvent(1, b'{"statusUpdate":{}}', WORKING, 12.5, 1)
        async with asyncio.timeout(60):
            while (wake := await ear.next(0.2)) is None or not wake.events:
                buses[0].publish("t", "c", Wake([event]))
        assert next(iter(wake.events)) == event
        woken.clear()
        queues[0].announce("1")
        async with asyncio.timeout(60):
            await woken.wait()
        assert not buses[1].status()
    finally:
        for pair in parts:
            for part in pair:
                await part.close()


async def test_an_event_too_large_for_a_notification_is_only_said_to_be_there(store: PostgresStore) -> None:
    listener, notifier = Listener(store.address), Notifier(store.address)
    buses = [PostgresBus(listener, notifier, store.address.key) for _ in range(2)]
    await listener.open()
    await notifier.open()
    try:
        ear = buses[1].subscribe("t", "c")
        assert await ear.next(60) == Wake()
        buses[0].publish("t", "c", Wake([LoggedEvent(1, b'"%s"' % (b"x" * 9000), WORKING, 1.0, 1)]))
        assert await ear.next(60) == Wake()
    finally:
        await notifier.close()
        await listener.close()
