"""RocketMQ as queue and bus against PostgreSQL alone: the same load, the same PostgreSQL as the store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import psutil
from scale import Scale
from table import Row

from cluster.deployment import deployed
from cluster.lag import at, stamped
from cluster.postgres import Postgres
from cluster.throughput import cost
from engines.rocketmq import RocketMQ

_LAG_RATE = 100.0
"""Events a second of each of the streams whose lag is taken: what both ways carry with ease."""


@dataclass(frozen=True, slots=True)
class Found:
    """Of one way: requests a second with 32 in flight, milliseconds of CPU a request (ours, PostgreSQL's, RocketMQ's),
    the median latency of a request alone, and the lag of events, in milliseconds."""

    rate: float
    ours: float
    database: float
    broker: float
    alone: float
    p50: float
    p99: float


@contextlib.asynccontextmanager
async def _rocketmq() -> AsyncIterator[RocketMQ]:
    server = RocketMQ()
    await asyncio.to_thread(server.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.close)


def _used(parts: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (part.cpu_times() for part in parts))


async def _find(scale: Scale, postgres: Postgres, parts: Sequence[psutil.Process], **settings: str) -> Found:
    async with deployed(postgres, "parley", **settings) as deployment:
        broker = _used(parts)
        many = await cost(postgres, deployment, 32, scale.load)
        # The warm-up is a part of what the broker did, a small one.
        broker = (_used(parts) - broker) / (many.load.requests * (scale.load + 1) / scale.load) * 1000
        alone = await cost(postgres, deployment, 1, scale.load)
        await stamped(deployment, 20, 0)
        _, lags = await stamped(deployment, int(_LAG_RATE * scale.lag), _LAG_RATE)
    return Found(
        many.load.per_second,
        many.load.cpu,
        many.database,
        broker,
        alone.load.p50,
        at(lags, 0.5),
        at(lags, 0.99),
    )


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """Both ways side by side; RocketMQ is started for it, and gone afterwards."""
    if not scale.broker:
        return []
    without = await _find(scale, postgres, [])
    async with _rocketmq() as server:
        pids = [server.pid(part) for part in ("namesrv", "broker", "proxy")]
        parts = [psutil.Process(pid) for pid in pids if pid is not None]
        with_it = await _find(scale, postgres, parts, queue=server.url, bus=server.url)
    ways = {
        "PostgreSQL alone": without,
        "RocketMQ as queue and bus": with_it,
    }
    rows = []
    for name, found in ways.items():
        rows.append(Row(f"{name}: durable requests, 32 in flight", "", f"{found.rate:,.0f} /s"))
        cpu = f"{found.ours:.2f} + {found.database:.2f} + {found.broker:.2f} ms"
        rows.append(Row("· CPU a request: ours + PostgreSQL + RocketMQ", "", cpu))
        rows.append(Row("· latency of a request alone, p50", "", f"{found.alone:.1f} ms"))
        rows.append(
            Row("· event lag at 800 events/s, p50 / p99", "", f"{found.p50:.1f} / {found.p99:.1f} ms")
        )
    return rows
