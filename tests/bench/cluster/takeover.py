"""Takeover: the worker is killed in the middle; how long until the stream, held by a front, goes on."""

import statistics

from figures.takeover import gap
from scale import Scale
from table import Row

from cluster.deployment import WORKER, deployed
from cluster.postgres import Postgres

_GOAL = 5.0


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """Seconds from SIGKILL to the next event at the client."""
    gaps = []
    async with deployed(postgres, "parley", workers=2) as deployment:
        for _ in range(scale.takeovers):
            gaps.append(await gap(deployment.fronts[0], deployment.workers))
            await deployment.add(WORKER)
    return [
        Row(
            f"takeover after kill -9, min / median / max of {len(gaps)}",
            f"≤ {_GOAL:g} s",
            f"{min(gaps):.1f} / {statistics.median(gaps):.1f} / {max(gaps):.1f} s",
            "the task stays WORKING for ever",
            met=max(gaps) <= _GOAL,
        )
    ]
