"""How much is measured: enough for numbers, or just enough to see that every bench still runs."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of the benches. Times are seconds."""

    repeats: int = 3
    load: float = 4.0
    chunks: int = 4000
    idle: int = 1500
    lag: float = 8.0
    takeovers: int = 5
    hook_events: int = 5
    parked: int = 20_000
    sdk_parked: int = 2000
    events: tuple[int, ...] = (100, 1000, 4000, 16_000)
    reading: float = 1.0
    tasks: int = 100_000
    sdk_tasks: int = 8000
    cards: int = 100_000
    searches: int = 300
    changing: int = 10
    crowd: int = 10_000
    sdk_crowd: int = 200
    stalled_chunks: int = 2000
    token_streams: int = 1000
    token_chunks: int = 60
    sdk_token_streams: int = 16
    sdk_token_chunks: int = 20
    backlogs: tuple[int, ...] = (1000, 10_000, 100_000, 1_000_000)
    queued: int = 2000
    heavy: int = 10_000
    shared: int = 400
    quota: float = 8.0
    broker: bool = True
    agents: int = 2000
    resyncs: int = 10


FULL = Scale(
    tasks=int(os.environ.get("BENCH_TASKS", "100000")), agents=int(os.environ.get("BENCH_AGENTS", "2000"))
)
QUICK = Scale(
    repeats=1,
    load=0.5,
    chunks=200,
    idle=50,
    lag=1.0,
    takeovers=1,
    hook_events=2,
    parked=100,
    sdk_parked=100,
    events=(10, 100),
    reading=0.1,
    tasks=500,
    sdk_tasks=200,
    cards=1000,
    searches=10,
    changing=1,
    crowd=100,
    sdk_crowd=20,
    stalled_chunks=50,
    token_streams=20,
    token_chunks=10,
    sdk_token_streams=4,
    sdk_token_chunks=5,
    backlogs=(200, 1000),
    queued=50,
    heavy=200,
    shared=40,
    quota=2.0,
    broker=False,
    agents=20,
    resyncs=1,
)
