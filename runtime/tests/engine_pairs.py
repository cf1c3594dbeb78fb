"""Two processes' worth of engines on one store, for the contracts of queue and bus.

A new backend is one more entry of BACKENDS and an address for it in `settings`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parley_runtime.engines import Engines, engines_for
from parley_runtime.settings import HostSettings

BACKENDS = ["sqlite", "postgres", pytest.param("rocketmq", marks=pytest.mark.cluster)]
AGENT, VERSION = "agent", "1"


def settings(request: pytest.FixtureRequest, backend: str, folder: Path) -> HostSettings:
    """Where a backend is found; RocketMQ has PostgreSQL as its store."""
    if backend == "sqlite":
        return HostSettings(store=f"sqlite:///{folder}/s.db")
    dsn = request.getfixturevalue("postgres_dsn")
    if backend == "postgres":
        return HostSettings(store=dsn)
    url = request.getfixturevalue("rocketmq").url
    return HostSettings(store=dsn, queue=url, bus=url)


@asynccontextmanager
async def pair(settings: HostSettings, agent: str) -> AsyncIterator[tuple[Engines, Engines]]:
    """Engines of two processes, open and well."""
    engines = [engines_for(settings, agent, VERSION, f"host-{n}-{agent}") for n in range(2)]
    for one in engines:
        await one.open()
    try:
        await until(lambda: not any(one.status() for one in engines), within=30)
        yield engines[0], engines[1]
    finally:
        for one in engines:
            await one.close()


async def until(condition: Callable[[], object], within: float = 60.0) -> None:
    """Return when it holds; fail when it does not in time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.01)
