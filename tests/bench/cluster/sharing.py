"""Who is served when: tenants under backlog, and the quota over several workers."""

import time

from scale import Scale
from table import Row

from cluster.deployment import WORKER, Deployment, deployed
from cluster.filling import accept, begun, ended, opened
from cluster.postgres import Postgres
from parley_runtime.store import Limits, Store

_WORK = "ticks 1 50"
"""A call that takes 20 ms, as a model's does take some time."""
_PLACES = {"concurrency": "4"}
_FIRST_GOAL = 1.0
_WEIGHTS = {"a": 3.0, "b": 1.0}
_RATE, _BURST = 50.0, 5
_NEAR = 0.1
"""How far a share or a rate may be off."""


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """A light tenant behind a heavy one, two with weights, and calls begun under a quota."""
    return [
        *await _light(scale, postgres),
        *await _weights(scale, postgres),
        *await _quota(scale, postgres),
    ]


async def _light(scale: Scale, postgres: Postgres) -> list[Row]:
    async with deployed(postgres, "parley", workers=0, **_PLACES) as deployment:
        async with opened(deployment.store) as engines:
            store = engines.store
            heavy = await accept(store, scale.heavy, _WORK, "heavy")
            await _working(deployment, store, heavy[0].task_id)
            sent = time.perf_counter()
            [first] = await accept(store, 1, _WORK, "light")
            await ended(store, first.task_id, 60)
            took = time.perf_counter() - sent
            state = await store.queue_state()
    return [
        Row(
            f"a light tenant's first task behind a heavy one's {scale.heavy:,}",
            f"≤ {_FIRST_GOAL:g} s",
            f"{took * 1000:.0f} ms ({state.waiting:,} still waiting)",
            met=took <= _FIRST_GOAL,
        )
    ]


async def _weights(scale: Scale, postgres: Postgres) -> list[Row]:
    async with deployed(postgres, "parley", workers=0, **_PLACES) as deployment:
        async with opened(deployment.store) as engines:
            store = engines.store
            await store.set_limits(Limits(backlog=0, weights=_WEIGHTS))
            tasks = {tenant: await accept(store, scale.shared, _WORK, tenant) for tenant in _WEIGHTS}
            await _working(deployment, store, tasks["b"][scale.shared // 3].task_id)
            found = {tenant: await begun(store, mine) for tenant, mine in tasks.items()}
    times = sorted((at, tenant) for tenant, mine in found.items() for at in mine.values())
    # As long as both have work waiting: a's is used up after 4/3 of it.
    while_both = [tenant for _, tenant in times][: scale.shared]
    ratio = while_both.count("a") / max(1, while_both.count("b"))
    goal = _WEIGHTS["a"] / _WEIGHTS["b"]
    return [
        Row(
            f"shares of two tenants with weights {_WEIGHTS['a']:g} : {_WEIGHTS['b']:g}, over {len(while_both):,} tasks",
            f"{goal:g} : 1",
            f"{ratio:.2f} : 1",
            met=abs(ratio - goal) <= _NEAR * goal,
        )
    ]


async def _quota(scale: Scale, postgres: Postgres) -> list[Row]:
    count = int(_RATE * scale.quota)
    async with deployed(postgres, "parley", workers=0, **_PLACES) as deployment:
        async with opened(deployment.store) as engines:
            store = engines.store
            await store.set_limits(Limits(backlog=0, rate=_RATE, burst=_BURST))
            tasks = await accept(store, count, "hello", "one")
            await deployment.add(WORKER)
            await _working(deployment, store, tasks[-1].task_id)
            times = sorted((await begun(store, tasks)).values())
    rate = (len(times) - _BURST) / (times[-1] - times[0])
    most = max(sum(start <= at < start + 1 for at in times) for start in times)
    return [
        Row(
            f"calls begun under a quota of {_RATE:g} /s, burst {_BURST}, by 2 workers",
            f"{_RATE:g} /s",
            f"{rate:.1f} /s",
            met=abs(rate - _RATE) <= _NEAR * _RATE,
        ),
        Row(
            "· most within any second",
            f"≤ {_RATE + _BURST:g}",
            f"{most}",
            # What is seen is when the first event was committed, some milliseconds after the call began.
            met=most <= (_RATE + _BURST) * (1 + _NEAR),
        ),
    ]


async def _working(deployment: Deployment, store: Store, until: str) -> None:
    """Add a worker, and return when it has ended a task."""
    await deployment.add(WORKER)
    await ended(store, until, 120)
