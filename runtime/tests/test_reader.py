"""A reader makes up for everything a bus may do wrong."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from parley_runtime.bus import Wake
from parley_runtime.buses.sqlite import SqliteBus
from parley_runtime.reader import Outlet, Reader
from parley_runtime.store import (
    Append,
    LoggedEvent,
    NewEvent,
    NewMessage,
    Work,
)
from parley_runtime.stores.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(f"sqlite:///{tmp_path}/r.db")
    await store.open()
    yield store
    await store.close()


async def running(store: SqliteStore) -> Work:
    await store.register_worker("w", "1", 30)
    message = NewMessage("o", "m", b"", "t", False, "", "c", "1", b"", "")
    accepted = await store.accept(message, take_as="w")
    assert accepted.work is not None
    return accepted.work


async def log(store: SqliteStore, work: Work, first: int, *states: int) -> list[LoggedEvent]:
    events = [NewEvent(b"{}", state) for state in states]
    done = states[-1] == 3
    return list((await store.append(Append("t", work.epoch, 1, first, events, ends=done))).events)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("seed", range(20))
async def test_repeats_losses_and_reorderings_of_the_bus_never_reach_a_reader(
    store: SqliteStore, seed: int, direct: bool
) -> None:
    chance = random.Random(seed)
    bus = SqliteBus(store)
    work = await running(store)
    seen: list[int] = []
    outlet = Outlet()

    def write(events: Sequence[LoggedEvent]) -> bool:
        room = chance.random() < 0.8
        seen.extend(e.generation for e in events if room)
        return room

    async def read() -> None:
        ear = bus.subscribe("t", "c")
        async for batch in Reader(store, bus).follow("t", 0, ear=ear, work=1, outlet=outlet):
            seen.extend(e.generation for e in batch)
            outlet.write = write if direct else None

    reading = asyncio.create_task(read())
    logged: list[LoggedEvent] = []
    for n in range(1, 31):
        logged += await log(store, work, n, 3 if n == 30 else 2)
        what = chance.random()
        if what < 0.3:
            bus.publish("t", "c", Wake(logged[-chance.randint(1, 5) :]))
        elif what < 0.5:
            bus.publish("t", "c", Wake(chance.sample(logged, min(4, len(logged)))))
        elif what < 0.6:
            bus.publish("t", "c", Wake())
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    bus.publish("t", "c", Wake(logged[-1:]))
    await asyncio.wait_for(reading, 60)
    assert seen == list(range(1, 31))


async def test_what_simply_follows_goes_straight_to_the_outlet_and_wakes_nobody(store: SqliteStore) -> None:
    bus, outlet, written = SqliteBus(store), Outlet(), list[int]()
    work = await running(store)
    batches = Reader(store, bus).follow("t", 0, ear=bus.subscribe("t", "c"), work=1, outlet=outlet)
    bus.publish("t", "c", Wake(await log(store, work, 1, 2)))
    assert [e.generation for e in await anext(batches)] == [1]
    outlet.write = lambda events: not written.extend(e.generation for e in events)
    following = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    for n in range(2, 5):
        bus.publish("t", "c", Wake(await log(store, work, n, 2)))
        assert written == list(range(2, n + 1))
    assert not following.done()
    bus.publish("t", "c", Wake(await log(store, work, 5, 3)))  # the end is the reader's business
    assert [e.generation for e in await following] == [5]
    assert [batch async for batch in batches] == []


async def test_an_outlet_that_has_taken_something_is_followed_by_a_look_a_second_later(
    store: SqliteStore,
) -> None:
    bus, outlet, written = SqliteBus(store), Outlet(), list[int]()
    work = await running(store)
    batches = Reader(store, bus).follow("t", 0, ear=bus.subscribe("t", "c"), outlet=outlet)
    bus.publish("t", "c", Wake(await log(store, work, 1, 2)))
    await anext(batches)
    outlet.write = lambda events: not written.extend(e.generation for e in events)
    following = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0.5)
    bus.publish("t", "c", Wake(await log(store, work, 2, 2)))
    await log(store, work, 3, 2)  # of which the bus says nothing
    told = time.monotonic()
    assert [e.generation for e in await asyncio.wait_for(following, 60)] == [3]
    assert (written, time.monotonic() - told > 0.7) == ([2], True)
    await batches.aclose()


async def test_a_reader_goes_on_although_the_bus_says_nothing(store: SqliteStore) -> None:
    bus = SqliteBus(store)
    work = await running(store)
    batches = Reader(store, bus).follow("t", 0, ear=bus.subscribe("t", "c"), work=1)
    first = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0.05)
    await log(store, work, 1, 2, 3)
    assert [e.generation for e in await asyncio.wait_for(first, 60)] == [1, 2]


async def test_a_slow_reader_is_held_a_bounded_number_of_events_and_misses_none(store: SqliteStore) -> None:
    bus = SqliteBus(store)
    work = await running(store)
    ear = bus.subscribe("t", "c")
    batches = Reader(store, bus).follow("t", 0, ear=ear, work=1)
    first = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0.05)
    for n in range(1, 601):
        bus.publish("t", "c", Wake(await log(store, work, n, 3 if n == 600 else 2)))
    assert len(ear._held) <= 256
    seen = [e.generation for e in await first]
    async for batch in batches:
        seen += [e.generation for e in batch]
    assert seen == list(range(1, 601))


async def test_a_slow_reader_is_held_a_bounded_number_of_bytes_too(store: SqliteStore) -> None:
    ear = SqliteBus(store).subscribe("t", "c")
    readers = ear._readers
    readers.tell("t", Wake([LoggedEvent(1, b"x" * 5_000_000, 2, 0.0, 1)]))
    one = await ear.next(1)
    assert one is not None
    assert len(one.events) == 1
    for n in range(2, 100):
        readers.tell("t", Wake([LoggedEvent(n, b"x" * 100_000, 2, 0.0, 1)]))
        assert sum(len(event.body) for event in ear._held) <= 1 << 20
    assert await ear.next(1) == Wake()


@pytest.fixture
async def other(store: SqliteStore, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """The same file as another process has it."""
    other = SqliteStore(f"sqlite:///{tmp_path}/r.db")
    await other.open()
    yield other
    await other.close()


async def test_an_executor_that_returns_without_ending_is_heard_in_another_process_at_once(
    store: SqliteStore, other: SqliteStore
) -> None:
    work = await running(store)
    bus = SqliteBus(other)
    batches = Reader(other, bus).follow("t", 0, ear=bus.subscribe("t", "c"), work=1)
    await log(store, work, 1, 2)
    assert [e.generation for e in await asyncio.wait_for(anext(batches), 60)] == [1]
    ending = asyncio.ensure_future(anext(batches, None))
    await asyncio.sleep(0.1)
    assert not ending.done()
    assert (await store.finish("t", work.epoch, 1)).done
    assert await asyncio.wait_for(ending, 0.5) is None


async def test_more_events_of_another_process_than_are_read_at_once_are_all_heard_without_another_commit(
    store: SqliteStore, other: SqliteStore
) -> None:
    work = await running(store)
    ear = SqliteBus(other).subscribe("t", "c")
    heard = 0
    states = [2] * 700
    for n in range(8):
        store.append(Append("t", work.epoch, 1, 1 + n * 700, [NewEvent(b"{}", s) for s in states]))
    tells = ear._readers.tell

    def count(task_id: str, wake: Wake) -> None:
        nonlocal heard
        heard += len(wake.events)
        tells(task_id, wake)

    ear._readers.tell = count  # type: ignore[method-assign]
    async with asyncio.timeout(60):
        while heard < 5600:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
