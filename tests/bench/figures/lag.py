"""Event lag between processes: made by an executor in a worker, heard on a stream that a front holds."""

import asyncio
import re
import statistics
import time

from client import CallFailed, Connection, message, request
from scale import Scale
from servers import Server, fleet, running
from table import Row

_STREAMS = 8
_GOAL = 20.0
_PROBE = 4000
_THEIR_PROBE = 400
"""Events a stream to see what saturates: more for us, and theirs slows down with a task's events."""
_STAMP = re.compile(rb'"text": ?"([0-9]{19})"')


async def stamped(server: Server, count: int, rate: float) -> tuple[float, list[float]]:
    """Events a second over all streams, and the sorted lags in milliseconds; `rate` is each stream's, 0 all it can."""
    connections = [await Connection.open(server.port) for _ in range(_STREAMS)]
    lags: list[float] = []

    def heard(events: list[bytes]) -> None:
        now = time.time_ns()
        for event in events:
            if stamp := _STAMP.search(event):
                lags.append((now - int(stamp[1])) / 1e6)

    begun = time.perf_counter()
    body = f"stamps {count} {rate}"
    await asyncio.gather(
        *(c.stream(request("SendStreamingMessage", message(body)), heard) for c in connections)
    )
    took = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    if len(lags) != count * _STREAMS:
        raise CallFailed(f"{count * _STREAMS} events were sent, {len(lags)} were heard")
    return len(lags) / took, sorted(lags)


async def measure(scale: Scale) -> list[Row]:
    """Lag at half the saturating load; beside it the SDK's within its one process, at half of what it can."""
    ours: list[tuple[float, list[float]]] = []
    for _ in range(scale.repeats):
        async with fleet("worker", "front") as (servers, _):
            ours.append(await _half(servers[1], scale.lag, _PROBE))
    async with running("sdk") as server:
        their_rate, theirs = await _half(server, scale.lag, _THEIR_PROBE)
    rate = statistics.median(r for r, _ in ours)
    p50, p99 = (statistics.median(_at(lags, q) for _, lags in ours) for q in (0.5, 0.99))
    return [
        Row(
            "event lag, worker process to another's stream, p99",
            f"≤ {_GOAL:g} ms",
            f"{p99:.1f} ms at {rate:,.0f} events/s",
            f"{_at(theirs, 0.99):.1f} ms at {their_rate:,.0f} (one process)",
            met=p99 <= _GOAL,
        ),
        Row("· p50", "", f"{p50:.1f} ms", f"{_at(theirs, 0.5):.1f} ms"),
    ]


async def _half(server: Server, seconds: float, probe: int) -> tuple[float, list[float]]:
    await stamped(server, 50, 0)
    saturated, _ = await stamped(server, int(probe * min(1, seconds / 4)), 0)
    rate = saturated / 2 / _STREAMS
    return await stamped(server, int(rate * seconds), rate)


def _at(ordered: list[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))]
