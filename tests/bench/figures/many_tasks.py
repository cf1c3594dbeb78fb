"""Memory over very many tasks: what stays of a task that has ended."""

import asyncio

from scale import Scale
from servers import running
from table import Row

from figures.throughput import load

_CALLERS = 32
_STEPS = 5
_GOAL = 100.0
"""Bytes a task that count as flat: what 100,000 tasks would add is within what an allocator gives and takes."""


async def _resident(side: str, tasks: int) -> list[float]:
    """Megabytes after each fifth of the tasks."""
    seen = []
    async with running(side) as server:
        for _ in range(_STEPS):
            await load(server, _CALLERS, count=tasks // _STEPS)
            await asyncio.sleep(0.5)
            seen.append(server.rss / 1e6)
    return seen


async def measure(scale: Scale) -> list[Row]:
    """Growth a task from the second fifth to the last."""
    ours, theirs = await _resident("parley", scale.tasks), await _resident("sdk", scale.sdk_tasks)
    parley, sdk = _growth(ours, scale.tasks), _growth(theirs, scale.sdk_tasks)
    return [
        Row(
            f"memory over {scale.tasks:,} tasks",
            "flat",
            f"{' / '.join(f'{x:.0f}' for x in ours)} MB ({parley:,.0f} B a task)",
            f"{sdk:,.0f} B a task (over {scale.sdk_tasks:,})",
            f"{parley / sdk:.3f}×" if parley > 0 < sdk else "–",
            parley <= _GOAL,
        )
    ]


def _growth(resident: list[float], tasks: int) -> float:
    return (resident[-1] - resident[1]) * 1e6 / (tasks * (_STEPS - 2) / _STEPS)
