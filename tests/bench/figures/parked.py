"""Resident memory of a task that waits for its user (input-required)."""

import asyncio
import statistics

from scale import Scale
from servers import SIDES, running
from table import Row

from figures.throughput import load

_GOAL = 1.0
_CALLERS = 16


async def _kilobytes(side: str, tasks: int) -> float:
    async with running(side) as server:
        await load(server, _CALLERS, count=tasks, text="park")
        await asyncio.sleep(1.5)
        before = server.rss
        await load(server, _CALLERS, count=tasks, text="park")
        await asyncio.sleep(1.5)
        return (server.rss - before) / tasks / 1024


async def measure(scale: Scale) -> list[Row]:
    """Kilobytes a parked task, after as many others (so that caches and arenas are filled)."""
    got: dict[str, list[float]] = {side: [] for side in SIDES}
    for n in range(scale.repeats):
        for side in SIDES if n == 0 else SIDES[:1]:
            tasks = scale.parked if side == "parley" else scale.sdk_parked
            got[side].append(await _kilobytes(side, tasks))
    parley, sdk = (statistics.median(got[side]) for side in SIDES)
    return [
        Row(
            f"memory a parked task, {scale.parked:,} of them",
            f"≤ {_GOAL:g} KB",
            f"{parley:.2f} KB",
            f"{sdk:.1f} KB",
            f"{parley / sdk:.3f}×" if parley > 0 < sdk else "–",
            parley <= _GOAL,
        )
    ]
