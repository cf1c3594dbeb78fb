"""Reading a task's log from any point: streams, resumption and blocking sends are all this one reader."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from a2a.types import a2a_pb2 as pb

from parley_runtime.store import ENDED, INTERRUPTED, Bus, LoggedEvent, Store, Subscription

_LOOK_AGAIN = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds of silence after which the store is asked (the bus may lose), longer the longer it lasts."""
_PARKING = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Waits between an interrupted event and the check whether its execution has let go."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive events; `task` is the Task after the last, when it came with them."""

    events: Sequence[LoggedEvent]
    task: pb.Task | None = None


class Reader:
    """Follows task logs in this process."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus

    def listen(self, task_id: str) -> Subscription:
        """Start hearing of a task before anything is asked of it, so that nothing falls between."""
        return self._bus.subscribe(task_id)

    async def follow(
        self, task_id: str, after: int, *, work: int = 0, ear: Subscription | None = None, fresh: bool = False
    ) -> AsyncGenerator[Batch, None]:
        """The events after generation `after`, in order, without gap or repeat, as they are committed.

        Ends when the task ends; or, after an event of work entry `work` or a later one left it interrupted, when
        no work on it is left. With `work` (the reader waits for that entry) also when no work is left for any other
        reason: the executor returned without ending the task. `fresh`: the log is known to hold nothing yet, so the store is not asked first.
        """
        ear = ear or self.listen(task_id)
        last, wait = after, 0
        interrupted = False
        try:
            batch = Batch(() if fresh else await self._store.events(task_id, last))
            while True:
                new = [e for e in batch.events if e.generation > last]
                if new and new[0].generation != last + 1:
                    new = list(await self._store.events(task_id, last))
                    batch = Batch(new)
                if new:
                    end = new[-1]
                    last, wait = end.generation, 0
                    interrupted = end.state in INTERRUPTED and end.work >= work
                    yield Batch(
                        new, batch.task if batch.events and batch.events[-1].generation == last else None
                    )
                    if end.state in ENDED:
                        return
                steps = _PARKING if interrupted else _LOOK_AGAIN
                timeout = steps[min(wait, len(steps) - 1)]
                wake = await ear.next(timeout)
                if wake is not None and wake.events:
                    batch = Batch(wake.events, wake.task)
                    continue
                batch = Batch(await self._store.events(task_id, last))
                if not batch.events:
                    wait += 1
                    if (interrupted or work) and not await self._busy(task_id, last):
                        return
        finally:
            ear.close()

    async def _busy(self, task_id: str, last: int) -> bool:
        stored = await self._store.load(task_id)
        return stored is None or stored.busy or stored.generation > last
