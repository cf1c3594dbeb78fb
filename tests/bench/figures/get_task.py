"""What GetTask costs the server by the number of a task's events, for tasks that run and tasks that have ended."""

import asyncio
import math
import time

import orjson
from client import CallFailed, Connection, message, request
from scale import Scale
from servers import SIDES, Server, running
from table import Row

_SIZE = 20
_GOAL = 1.1
"""Exponent of the growth; 1 is linear, and as much again for noise."""


async def _milliseconds(server: Server, verb: str, events: int, seconds: float) -> float:
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
    calls, cpu, begun = 0, server.cpu, time.monotonic()
    while server.cpu - cpu < seconds and time.monotonic() - begun < 10 * seconds:
        answer = await reading.raw(request("GetTask", {"id": task_id}))
        calls += 1
        if answer.count(b'"text"') < events:
            raise CallFailed(f"GetTask lacks chunks: {answer[:200]!r}")
    cost = (server.cpu - cpu) / calls * 1000
    streaming.close()
    reading.close()
    return cost


async def measure(scale: Scale) -> list[Row]:
    """Processor time by size, and the exponent of its growth."""
    rows = []
    for verb, name in (("chunks", "ended"), ("hold", "running")):
        got: dict[str, list[float]] = {}
        for side in SIDES:
            async with running(side) as server:
                got[side] = [await _milliseconds(server, verb, n, scale.reading) for n in scale.events]
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
    """Of the last step, the steepest: what every call costs matters least there."""
    return math.log(times[-1] / times[-2]) / math.log(sizes[-1] / sizes[-2])
