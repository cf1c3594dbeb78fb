"""What GetTask costs by the number of a task's events, for tasks that run and tasks that have ended."""

import asyncio
import math
import statistics
import time

import orjson
from client import CallFailed, Connection, message, request
from scale import Scale
from servers import SIDES, Server, running
from table import Row

_SIZE = 20
_GOAL = 1.1
"""Exponent of the growth; 1 is linear, and as much again for noise."""


async def _milliseconds(server: Server, verb: str, events: int, reads: int) -> float:
    streaming, reading = await Connection.open(server.port), await Connection.open(server.port)
    heard = 0
    task_id = ""

    def listen(arrived: list[bytes]) -> bool:
        nonlocal heard, task_id
        for event in arrived:
            if not task_id:
                task_id = orjson.loads(event)["result"]["task"]["id"]
            heard += b'"artifactUpdate"' in event
        return verb == "hold" and heard == events

    body = request("SendStreamingMessage", message(f"{verb} {events} {_SIZE}"))
    await asyncio.wait_for(streaming.stream(body, listen), 120)
    times = []
    for _ in range(reads + 2):
        begun = time.perf_counter()
        answer = await reading.raw(request("GetTask", {"id": task_id}))
        times.append(time.perf_counter() - begun)
        if answer.count(b'"text"') < events:
            raise CallFailed(f"GetTask lacks chunks: {answer[:200]!r}")
    streaming.close()
    reading.close()
    return statistics.median(times[2:]) * 1000


async def measure(scale: Scale) -> list[Row]:
    """Times by size, and the exponent that the growth from the smallest to the largest amounts to."""
    rows = []
    for verb, name in (("chunks", "ended"), ("hold", "running")):
        got: dict[str, list[float]] = {}
        for side in SIDES:
            async with running(side) as server:
                got[side] = [await _milliseconds(server, verb, n, scale.reads) for n in scale.events]
        parley, sdk = (_exponent(scale.events, got[side]) for side in SIDES)
        shown = {side: " / ".join(f"{ms:.1f}" for ms in got[side]) + " ms" for side in SIDES}
        sizes = " / ".join(f"{n:,}" for n in scale.events)
        rows.append(
            Row(
                f"GetTask of {sizes} events, {name}",
                "linear",
                f"{shown['parley']} (n^{parley:.2f})",
                f"{shown['sdk']} (n^{sdk:.2f})",
                f"{got['parley'][-1] / got['sdk'][-1]:.2f}×",
                parley <= _GOAL,
            )
        )
    return rows


def _exponent(sizes: tuple[int, ...], times: list[float]) -> float:
    """Of the steepest step, which is where worse than linear growth would show."""
    steps = zip(zip(sizes, times, strict=True), list(zip(sizes, times, strict=True))[1:], strict=False)
    return max(math.log(t1 / t0) / math.log(n1 / n0) for (n0, t0), (n1, t1) in steps)
