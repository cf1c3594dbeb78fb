"""The figures, one file each: `measure(scale)` gives the rows."""

from collections.abc import Awaitable, Callable

from scale import Scale
from table import Row

from figures import (
    get_task,
    idle,
    lag,
    many_tasks,
    parked,
    registry,
    streaming,
    takeover,
    throughput,
    webhook,
)

FIGURES: dict[str, Callable[[Scale], Awaitable[list[Row]]]] = {
    "throughput": throughput.measure,
    "streaming": streaming.measure,
    "idle": idle.measure,
    "lag": lag.measure,
    "takeover": takeover.measure,
    "webhook": webhook.measure,
    "parked": parked.measure,
    "get_task": get_task.measure,
    "many_tasks": many_tasks.measure,
    "registry": registry.measure,
}
