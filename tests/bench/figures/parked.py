"""Resident memory of a task that waits for its user (input-required)."""

import asyncio
import statistics

from scale import Scale
from servers import SIDES, running
from table import Row

from figures.throughput import load

_GOAL = 1.0
_CALLERS = 16
_STEPS = 10
_SETTLE = 1.0


async def _kilobytes(side: str, tasks: int) -> float:
    """Of the line through ten readings, each after a tenth of the tasks. What comes and goes by itself (page caches,
    the collector's rhythm) is several megabytes, so two readings would say nothing."""
    async with running(side) as server:
        await load(server, _CALLERS, count=tasks // _STEPS, text="park")
        readings = []
        for _ in range(_STEPS):
            await load(server, _CALLERS, count=tasks // _STEPS, text="park")
            await asyncio.sleep(_SETTLE)
            readings.append(server.rss / 1024)
        return statistics.linear_regression(range(_STEPS), readings).slope / (tasks // _STEPS)


async def measure(scale: Scale) -> list[Row]:
    """Kilobytes a parked task."""
    parley = await _kilobytes(SIDES[0], scale.parked)
    sdk = await _kilobytes(SIDES[1], scale.sdk_parked)
    return [
        Row(
            f"memory a parked task, over {scale.parked:,}",
            f"≤ {_GOAL:g} KB",
            f"{parley:.2f} KB",
            f"{sdk:.1f} KB (over {scale.sdk_parked:,})",
            f"{parley / sdk:.3f}×" if parley > 0 < sdk else "–",
            parley <= _GOAL,
        )
    ]
