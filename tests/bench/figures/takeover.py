"""Takeover: the worker is killed in the middle; how long until the stream, held by a front, goes on."""

import statistics
import time

from client import Connection, message, request
from scale import Scale
from servers import fleet, start
from table import Row

_GOAL = 5.0
_BEFORE = 10
"""Ticks seen before the kill."""


async def measure(scale: Scale) -> list[Row]:
    """Seconds from SIGKILL to the next event at the client."""
    gaps = []
    async with fleet("front", "worker", "worker") as (servers, store):
        for _ in range(scale.takeovers):
            workers = {s.process.pid: s for s in servers[1:] if s.process.returncode is None}
            connection = await Connection.open(servers[0].port)
            ticks = 0
            killed = 0.0
            gap = 0.0
            victim = b""

            def heard(events: list[bytes]) -> bool:
                nonlocal ticks, killed, gap, victim
                for event in events:
                    maker = next((pid for pid in workers if b'"%d"' % pid in event), None)  # noqa: B023
                    if maker is None:
                        continue
                    ticks += 1
                    if ticks == _BEFORE:
                        victim = b'"%d"' % maker
                        workers[maker].kill()  # noqa: B023
                        killed = time.perf_counter()
                    elif killed and victim not in event:
                        gap = time.perf_counter() - killed
                        return True
                return False

            await connection.stream(request("SendStreamingMessage", message("ticks 2000 50")), heard)
            gaps.append(gap)
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
