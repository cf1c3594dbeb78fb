"""Durable requests a second: SendMessage, answered when the task is completed."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from client import CallFailed, Connection, message, request
from scale import Scale
from servers import SIDES, running
from table import Row, at_least


@dataclass(frozen=True, slots=True)
class Load:
    """What a closed loop of callers got. Times are milliseconds."""

    requests: float
    per_second: float
    cpu: float
    p50: float
    p99: float


class Loaded(Protocol):
    """What is loaded: one server or several."""

    @property
    def ports(self) -> Sequence[int]: ...

    @property
    def cpu(self) -> float: ...


async def load(
    server: Loaded, callers: int, seconds: float = 0.0, count: int = 0, text: str = "hello"
) -> Load:
    """Have `callers` send one message after the other, for some seconds or until `count` are answered."""
    connections = [await Connection.open(server.ports[n % len(server.ports)]) for n in range(callers)]
    until = time.monotonic() + seconds if seconds else float("inf")
    left = count or 1 << 60
    times: list[float] = []

    async def caller(connection: Connection) -> None:
        nonlocal left
        while left > 0 and (begun := time.perf_counter()) and time.monotonic() < until:
            left -= 1
            answer = await connection.raw(request("SendMessage", message(text)))
            times.append(time.perf_counter() - begun)
            if b"TASK_STATE_COMPLETED" not in answer and b"TASK_STATE_INPUT_REQUIRED" not in answer:
                raise CallFailed(answer[:300].decode())

    cpu, begun = server.cpu, time.perf_counter()
    await asyncio.gather(*map(caller, connections))
    took = time.perf_counter() - begun
    cpu = server.cpu - cpu
    for connection in connections:
        connection.close()
    times.sort()
    return Load(
        len(times),
        len(times) / took,
        cpu / len(times) * 1000,
        times[len(times) // 2] * 1000,
        times[int(len(times) * 0.99)] * 1000,
    )


async def measure(scale: Scale) -> list[Row]:
    """Requests a second with 32 in flight and one at a time."""
    rows = []
    for callers, goal, name in ((32, 2.0, "32 in flight"), (1, 1.5, "one at a time")):
        got: dict[str, list[Load]] = {side: [] for side in SIDES}
        for _ in range(scale.repeats):
            for side in SIDES:
                async with running(side) as server:
                    await load(server, callers, min(0.7, scale.load))
                    got[side].append(await load(server, callers, scale.load))
        parley, sdk = (median(got[side]) for side in SIDES)
        rows.append(at_least(f"durable requests, {name}", goal, parley.per_second, sdk.per_second, "/s"))
        rows.append(_beside(f"· CPU a request, {name}", parley.cpu, sdk.cpu, "ms"))
        rows.append(
            Row(
                f"· latency p50 / p99, {name}",
                "",
                f"{parley.p50:.1f} / {parley.p99:.1f} ms",
                f"{sdk.p50:.1f} / {sdk.p99:.1f} ms",
                f"{parley.p50 / sdk.p50:.2f}× / {parley.p99 / sdk.p99:.2f}×",
            )
        )
    return rows


def _beside(figure: str, parley: float, sdk: float, unit: str) -> Row:
    return Row(figure, "", f"{parley:.2f} {unit}", f"{sdk:.2f} {unit}", f"{parley / sdk:.2f}×")


def median(loads: list[Load]) -> Load:
    """The median of each of their figures."""
    return Load(*(statistics.median(getattr(x, f.name) for x in loads) for f in fields(Load)))
