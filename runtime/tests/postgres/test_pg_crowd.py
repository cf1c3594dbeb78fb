"""Many processes doing everything at once: no deadlock, no lost wake-up, and the queue is what the work says."""

import asyncio
import random

import asyncpg
import pytest

from parley_runtime.store import Append, NewEvent, NewMessage, StoreError, Work
from parley_runtime.stores.postgres import PostgresStore

pytestmark = pytest.mark.processes

WORKING, COMPLETED, INPUT = 2, 3, 6


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_queue_agrees_with_the_work_whatever_happens_at_once(postgres_dsn: str, seed: int) -> None:
    chance = random.Random(seed)
    stores = [PostgresStore(postgres_dsn, "a") for _ in range(3)]
    for store in stores:
        await store.open()
    for n, store in enumerate(stores):
        await store.register_worker(f"w{n}", "1", 0.6)
    made: list[str] = []
    until = asyncio.get_running_loop().time() + 3

    async def client(store: PostgresStore) -> None:
        while asyncio.get_running_loop().time() < until:
            kind = chance.random()
            try:
                if kind < 0.5 or not made:
                    task = f"t{len(made)}-{chance.random()}"
                    took = f"w{stores.index(store)}" if chance.random() < 0.3 else ""
                    accepted = await store.accept(new(task), take_as=took)
                    made.append(task)
                    if accepted.work:
                        await execute(store, accepted.work)
                elif kind < 0.8:
                    await store.accept(new(chance.choice(made), follow_up=True))
                else:
                    await store.request_cancel(chance.choice(made), "o", b"c", "")
            except StoreError:
                pass

    async def execute(store: PostgresStore, work: Work) -> None:
        at = await store.load(work.task_id)
        assert at is not None
        if chance.random() < 0.15:
            return await store.release(work.task_id, work.epoch, work.number)
        ends = work.kind == "cancel" or chance.random() < 0.4
        state = COMPLETED if ends else chance.choice([WORKING, INPUT])
        appended = await store.append(
            Append(
                work.task_id, work.epoch, work.number, at.generation + 1, [NewEvent(b"{}", state)], ends=ends
            )
        )
        if appended.events and not ends:
            await store.finish(work.task_id, work.epoch, work.number)
        return None

    async def worker(number: int) -> None:
        store = stores[number]
        while asyncio.get_running_loop().time() < until + 1:
            for cancel in await store.take_cancels(f"w{number}"):
                await execute(store, cancel)
            taken = await store.take(f"w{number}", "1", chance.randint(1, 8))
            for work in taken.work:
                if chance.random() < 0.9:  # else it is forgotten, as by a crash
                    await execute(store, work)
            if chance.random() < 0.2:
                await store.sweep()
            await asyncio.sleep(0.002)

    def new(task: str, *, follow_up: bool = False) -> NewMessage:
        return NewMessage("o", f"m-{chance.random()}", b"d", task, follow_up, "", f"c-{task}", "1", b"r", "")

    await asyncio.gather(*(client(store) for store in stores * 3), *(worker(n) for n in range(3)))
    assert len(made) > 50
    await _agrees(stores[0])
    for n, store in enumerate(stores):
        await store.retire_worker(f"w{n}")
    await stores[0].register_worker("last", "1", 30)
    while taken := (await stores[0].take("last", "1", 50)).work:
        for work in taken:
            at = await stores[0].load(work.task_id)
            assert at is not None
            events = [NewEvent(b"{}", COMPLETED)]
            append = Append(work.task_id, work.epoch, work.number, at.generation + 1, events, ends=True)
            assert (await stores[0].append(append)).events
    await _agrees(stores[0])
    state = await stores[0].queue_state()
    assert (state.waiting, state.running) == (0, 0)
    for store in stores:
        await store.close()


async def _agrees(store: PostgresStore) -> None:
    connection = await asyncpg.connect(
        store.address.dsn, server_settings={"search_path": store.address.schema}
    )
    try:
        # (A message that came in while its task ended is dropped with it, and may stay without an end of its own.)
        open_work = "SELECT task_id FROM work w JOIN task t ON t.id = w.task_id WHERE w.state < 2 AND t.ended_at IS NULL"
        assert await connection.fetch(f"({open_work}) EXCEPT SELECT task_id FROM queue") == []
        assert await connection.fetch(f"SELECT task_id FROM queue EXCEPT ({open_work})") == []
        held = "SELECT task_id, worker FROM queue WHERE worker <> ''"
        running = "SELECT task_id, worker FROM work WHERE state = 1"
        assert await connection.fetch(f"({held}) EXCEPT ({running})") == []
        assert await connection.fetch(f"({running}) EXCEPT ({held})") == []
        depth, waiting = await connection.fetchrow(
            "SELECT (SELECT coalesce(sum(delta), 0) FROM depth), (SELECT count(*) FROM queue WHERE worker = '')"
        )
        assert depth == waiting
    finally:
        await connection.close()
