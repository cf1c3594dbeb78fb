"""Event lag to a stream on another replica than the one that runs the executor."""

import asyncio
import re
import statistics
import time

from client import CallFailed, Connection, message, request
from scale import Scale
from table import Row

from cluster.deployment import SIDES, Deployment, deployed
from cluster.postgres import Postgres

_STREAMS = 8
_P50, _P99 = 5.0, 20.0
_PROBE = {"parley": 2000, "sdk": 30}
"""Events a stream that show what saturates: theirs slows down with a task's events."""
_STAMP = re.compile(rb'"text": ?"([0-9]{19})"')


async def stamped(deployment: Deployment, count: int, rate: float) -> tuple[float, list[float]]:
    """Events a second over all streams, and the sorted lags in milliseconds. The messages go to the first door and the
    streams are opened at the last; `rate` is each task's, 0 all it can."""
    first, last = deployment.ports[0], deployment.ports[-1]
    senders = [await Connection.open(first) for _ in range(_STREAMS)]
    readers = [await Connection.open(last) for _ in range(_STREAMS)]
    lags: list[float] = []

    def heard(events: list[bytes]) -> None:
        now = time.time_ns()
        for event in events:
            if b'"artifactUpdate"' in event and (stamp := _STAMP.search(event)):
                lags.append((now - int(stamp[1])) / 1e6)

    async def follow(sender: Connection, reader: Connection) -> None:
        task = await sender.call("SendMessage", message(f"stamps {count} {rate}", returnImmediately=True))
        await reader.stream(request("SubscribeToTask", {"id": task["task"]["id"]}), heard)

    begun = time.perf_counter()
    async with asyncio.timeout(120):
        await asyncio.gather(*map(follow, senders, readers))
    took = time.perf_counter() - begun
    for connection in (*senders, *readers):
        connection.close()
    if len(lags) < count * _STREAMS / 2:
        raise CallFailed(f"{count * _STREAMS} events were sent, {len(lags)} were heard")
    return count * _STREAMS / took, sorted(lags)


async def half(deployment: Deployment, seconds: float) -> tuple[float, list[float]]:
    """Events a second and lags at half of what saturates the deployment."""
    await stamped(deployment, 20, 0)
    probe = max(20, int(_PROBE[deployment.side] * min(1.0, seconds / 4)))
    saturated, _ = await stamped(deployment, probe, 0)
    rate = saturated / 2 / _STREAMS
    return await stamped(deployment, max(20, int(rate * seconds)), rate)


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """Lag at half the saturating load of each side."""
    got: dict[str, list[tuple[float, list[float]]]] = {side: [] for side in SIDES}
    for side in SIDES:
        for _ in range(scale.repeats if side == "parley" else 1):
            async with deployed(postgres, side) as deployment:
                got[side].append(await half(deployment, scale.lag))
    shown, met = {}, {}
    for side in SIDES:
        rate = statistics.median(rate for rate, _ in got[side])
        p50, p99 = (statistics.median(at(lags, q) for _, lags in got[side]) for q in (0.5, 0.99))
        shown[side] = f"{p50:.1f} / {p99:.1f} ms at {rate:,.0f} events/s"
        met[side] = p50 <= _P50 and p99 <= _P99
    return [
        Row(
            "event lag to a stream on another replica, p50 / p99",
            f"≤ {_P50:g} / {_P99:g} ms",
            shown["parley"],
            shown["sdk"],
            met=met["parley"],
        )
    ]


def at(ordered: list[float], quantile: float) -> float:
    """A quantile of what is sorted."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))]
