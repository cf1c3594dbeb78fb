"""Many who follow one task, and a store that is away for a while."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from parley_core.errors import Unavailable
from parley_runtime.bus import Wake
from parley_runtime.buses.sqlite import SqliteBus
from parley_runtime.reader import Reader
from parley_runtime.store import Append, LoggedEvent, NewEvent, NewMessage
from parley_runtime.stores.sqlite import SqliteStore

_CROWD = 200


class FaultyStore(SqliteStore):
    """Counts how often its logs are read, and can be away."""

    asked = 0
    away = False

    async def events(self, task_id: str, after: int, limit: int = 1000) -> Sequence[LoggedEvent]:
        self.asked += 1
        if self.away:
            raise Unavailable("away, as the test wants it")
        return await super().events(task_id, after, limit)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FaultyStore]:
    store = FaultyStore(f"sqlite:///{tmp_path}/r.db")
    await store.open()
    await store.register_worker("w", "1", 30)
    await store.accept(NewMessage("o", "m", b"", "t", False, "", "c", "1", b"", ""), take_as="w")
    yield store
    await store.close()


async def _log(store: FaultyStore, generation: int, state: int) -> None:
    await store.append(Append("t", 1, 1, generation, [NewEvent(b"{}", state)], ends=state == 3))


async def test_a_crowd_that_must_look_asks_the_store_a_few_times_and_all_see_the_same(
    store: FaultyStore,
) -> None:
    bus = SqliteBus(store)
    reader = Reader(store, bus)
    seen: list[list[int]] = [[] for _ in range(_CROWD)]

    async def follow(n: int) -> None:
        async for batch in reader.follow("t", 0, ear=bus.subscribe("t", "c")):
            seen[n] += [event.generation for event in batch]

    await _log(store, 1, 2)
    reading = [asyncio.create_task(follow(n)) for n in range(_CROWD)]
    async with asyncio.timeout(60):
        while not all(seen):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for generation in range(2, 6):
        await _log(store, generation, 3 if generation == 5 else 2)
        bus.publish("t", "c", Wake())  # the bus has lost the event: all look at once
        await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        await asyncio.gather(*reading)
    assert seen == [[1, 2, 3, 4, 5]] * _CROWD
    assert store.asked <= 20


async def test_who_looks_while_the_store_is_being_asked_sees_what_was_committed_since(
    store: FaultyStore,
) -> None:
    reader = Reader(store, SqliteBus(store))
    first = asyncio.create_task(reader._ask("t", 0))
    await asyncio.sleep(0)  # its task is made …
    await asyncio.sleep(0)  # … and asks the store
    store.append(Append("t", 1, 1, 1, [NewEvent(b"{}", 2)]))
    second = await reader._ask("t", 0)
    assert [event.generation for event in second] == [1]
    await first


async def test_a_stream_outlives_a_store_that_is_away_and_misses_nothing(store: FaultyStore) -> None:
    bus = SqliteBus(store)
    batches = Reader(store, bus).follow("t", 0, ear=bus.subscribe("t", "c"), fresh=True)
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0.05)
    store.away = True
    await _log(store, 1, 2)
    bus.publish("t", "c", Wake())
    await asyncio.sleep(0.3)
    assert store.asked
    assert not waiting.done()
    store.away = False
    assert [event.generation for event in await asyncio.wait_for(waiting, 60)] == [1]
    await batches.aclose()


async def test_who_begins_to_follow_while_the_store_is_away_is_told_at_once(store: FaultyStore) -> None:
    bus = SqliteBus(store)
    store.away = True
    with pytest.raises(Unavailable):
        await asyncio.wait_for(anext(Reader(store, bus).follow("t", 0, ear=bus.subscribe("t", "c"))), 60)
