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
    parked: int = 5000
    events: tuple[int, ...] = (100, 1000, 10_000)
    reads: int = 20
    tasks: int = 100_000
    sdk_tasks: int = 8000
    cards: int = 100_000


FULL = Scale(tasks=int(os.environ.get("BENCH_TASKS", "100000")))
QUICK = Scale(1, 0.5, 200, 50, 1.0, 1, 2, 100, (10, 100), 3, 500, 200, 1000)
