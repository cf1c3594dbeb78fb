"""What a queued task costs by the length of the queue."""

import asyncio
import math
import time
import uuid
from dataclasses import dataclass

import asyncpg
from scale import Scale
from table import Row

from cluster.filling import VERSION, accept, opened
from cluster.postgres import Postgres
from parley_runtime.store import Store

_AT_ONCE = 32
_FLAT = 1.5
_LEASE = 600.0

# How a copy of a waiting task differs from the one that was accepted, by table and column.
_COPIES = {
    "task": {"id": "'copy-' || g", "context_id": "'context-' || g"},
    "work": {"task_id": "'copy-' || g", "message_id": "'message-' || g", "rank": "t.rank + g"},
    "queue": {"task_id": "'copy-' || g", "rank": "t.rank + g"},
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one task on its way through the queue, in milliseconds: by the clock with 32 at once, and PostgreSQL's CPU."""

    accept: float
    take: float
    cpu: float


async def _copy(connection: asyncpg.Connection, first: int, last: int) -> None:
    """Lengthen the queue by copies of a task that the store itself has accepted, in bulk: everything is written and
    indexed as by acceptance, but in three statements."""
    model = await connection.fetchval(
        "SELECT task_id FROM queue WHERE worker = '' ORDER BY rank DESC LIMIT 1"
    )
    for table, changed in _COPIES.items():
        names = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema"
            " AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position",
            table,
        )
        columns = [row["column_name"] for row in names]
        values = ", ".join(changed.get(column, f't."{column}"') for column in columns)
        listed = ", ".join(f'"{column}"' for column in columns)
        key = "id" if table == "task" else "task_id"
        await connection.execute(
            f"INSERT INTO {table} ({listed}) SELECT {values} FROM {table} t,"
            f" generate_series({first}, {last}) g WHERE t.{key} = '{model}'",
            timeout=300,
        )


async def _cost(store: Store, postgres: Postgres, worker: str, tasks: int) -> Cost:
    cpu, begun = postgres.cpu, time.perf_counter()
    await accept(store, tasks, "hello", "one", _AT_ONCE)
    accepted = time.perf_counter()
    taken = 0
    while taken < tasks:
        work = (await store.take(worker, VERSION, min(_AT_ONCE, tasks - taken))).work
        assert work, "the queue is empty, although it was filled"
        await asyncio.gather(*(store.finish(one.task_id, one.epoch, one.number) for one in work))
        taken += len(work)
    ended = time.perf_counter()
    each = 1000 / tasks
    return Cost((accepted - begun) * each, (ended - accepted) * each, (postgres.cpu - cpu) * each)


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """Cost of acceptance, and of take and end, behind queues of growing length."""
    costs: list[Cost] = []
    async with postgres.database() as address, opened(address) as engines:
        store = engines.store
        worker = f"bench-{uuid.uuid4().hex[:8]}"
        await store.register_worker(worker, VERSION, _LEASE)
        connection = await asyncpg.connect(address)
        schema = await connection.fetchval("SELECT schemaname FROM pg_tables WHERE tablename = 'queue'")
        await connection.execute(f'SET search_path TO "{schema}"')
        await _cost(store, postgres, worker, scale.queued)
        await accept(store, 1, "hello", "many")
        length = 1
        for wanted in scale.backlogs:
            await _copy(connection, length, wanted - 1)
            length = wanted
            # What autovacuum would have done while so much came in one by one, so that it does not begin now.
            await connection.execute("VACUUM ANALYZE task, work, queue", timeout=300)
            await connection.execute("CHECKPOINT", timeout=300)
            costs.append(await _cost(store, postgres, worker, scale.queued))
            found = (await store.queue_state()).waiting
            assert abs(found - wanted) <= scale.queued, f"{found} wait, not {wanted}"
        await connection.close()
    lengths = " / ".join(f"{n:,}" for n in scale.backlogs)
    # A quick run may cost less than one tick of the clock that counts it.
    ratio = costs[-1].cpu / costs[0].cpu if costs[0].cpu else math.nan
    return [
        Row(
            f"PostgreSQL's CPU a queued task, {lengths} waiting",
            f"flat (≤ {_FLAT:g}×)",
            " / ".join(f"{c.cpu:.2f}" for c in costs) + f" ms ({ratio:.2f}×)",
            met=ratio <= _FLAT,
        ),
        Row(
            f"· acceptance by the clock, {_AT_ONCE} at once",
            "",
            " / ".join(f"{c.accept:.2f}" for c in costs) + " ms",
        ),
        Row("· taking and ending by the clock", "", " / ".join(f"{c.take:.2f}" for c in costs) + " ms"),
    ]
