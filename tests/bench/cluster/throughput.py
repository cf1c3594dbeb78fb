"""Durable requests a second: SendMessage, answered when the task is completed; front and worker are two processes."""

import statistics
from dataclasses import dataclass

from figures.throughput import Load, load, median
from scale import Scale
from table import Row, at_least

from cluster.deployment import SIDES, Deployment, deployed
from cluster.postgres import Postgres

_CPU_GOAL = 0.1


@dataclass(frozen=True, slots=True)
class Cost:
    """A load, and the milliseconds of PostgreSQL's CPU a request."""

    load: Load
    database: float


async def cost(postgres: Postgres, deployment: Deployment, callers: int, seconds: float) -> Cost:
    """What a closed loop of callers costs after a warm-up."""
    await load(deployment, callers, min(1.0, seconds))
    before = postgres.cpu
    done = await load(deployment, callers, seconds)
    return Cost(done, (postgres.cpu - before) / done.requests * 1000)


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """Requests a second with 32 in flight and one at a time."""
    rows = []
    for callers, goal, name in ((32, 15.0, "32 in flight"), (1, 5.0, "one at a time")):
        got: dict[str, list[Cost]] = {side: [] for side in SIDES}
        for _ in range(scale.repeats):
            for side in SIDES:
                async with deployed(postgres, side) as deployment:
                    got[side].append(await cost(postgres, deployment, callers, scale.load))
        parley, sdk = (median([x.load for x in got[side]]) for side in SIDES)
        ours, theirs = (statistics.median(x.database for x in got[side]) for side in SIDES)
        rows += [
            at_least(f"durable requests, {name}", goal, parley.per_second, sdk.per_second, "/s"),
            Row(
                f"· CPU a request, all server processes, {name}",
                f"≤ {_CPU_GOAL:g}×",
                f"{parley.cpu:.2f} ms",
                f"{sdk.cpu:.2f} ms",
                f"{parley.cpu / sdk.cpu:.3f}×",
                parley.cpu <= _CPU_GOAL * sdk.cpu,
            ),
            Row(
                f"· PostgreSQL's CPU a request, {name}",
                "",
                f"{ours:.2f} ms",
                f"{theirs:.2f} ms",
                f"{ours / theirs:.3f}×",
            ),
            Row(
                f"· latency p50 / p99, {name}",
                "",
                f"{parley.p50:.1f} / {parley.p99:.1f} ms",
                f"{sdk.p50:.1f} / {sdk.p99:.1f} ms",
                f"{parley.p50 / sdk.p50:.2f}× / {parley.p99 / sdk.p99:.2f}×",
            ),
        ]
    return rows
