"""Takeover: the worker is killed in the middle; how long until the stream, held by a front, goes on."""

import asyncio
import statistics
import time
from collections.abc import Sequence

from client import Connection, message, request
from scale import Scale
from servers import Server, fleet, start
from table import Row

_GOAL = 5.0
_BEFORE = 10
"""Ticks seen before the kill."""


async def gap(front: Server, workers: Sequence[Server]) -> float:
    """Seconds from SIGKILL of the worker that runs a task to the next event of another at the client."""
    alive = {worker.process.pid: worker for worker in workers if worker.process.returncode is None}
    connection = await Connection.open(front.port)
    ticks = 0
    killed = seconds = 0.0
    victim = b""

    def heard(events: list[bytes]) -> bool:
        nonlocal ticks, killed, seconds, victim
        for event in events:
            maker = next((pid for pid in alive if b'"%d"' % pid in event), None)
            if maker is None:
                continue
            ticks += 1
            if ticks == _BEFORE:
                victim = b'"%d"' % maker
                alive[maker].kill()
                killed = time.perf_counter()
            elif killed and victim not in event:
                seconds = time.perf_counter() - killed
                return True
        return False

    async with asyncio.timeout(60):
        await connection.stream(request("SendStreamingMessage", message("ticks 2000 50")), heard)
    return seconds


async def measure(scale: Scale) -> list[Row]:
    """Seconds from SIGKILL to the next event at the client."""
    gaps = []
    async with fleet("front", "worker", "worker") as (servers, store):
        for _ in range(scale.takeovers):
            gaps.append(await gap(servers[0], servers[1:]))
            servers.append(await start("parley", store=store, role="worker"))
    shown = f"{min(gaps):.1f} / {statistics.median(gaps):.1f} / {max(gaps):.1f} s"
    return [
        Row(
            f"takeover after kill -9, min / median / max of {len(gaps)}",
            f"≤ {_GOAL:g} s",
            shown,
            "the task is lost",
            met=max(gaps) <= _GOAL,
        )
    ]
