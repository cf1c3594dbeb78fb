"""Reading a task's log from any point: streams, resumption and blocking sends are all this one reader."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import orjson
from a2a.types import a2a_pb2 as pb
from a2a.utils.task import apply_history_length

from parley_core.errors import Unavailable
from parley_runtime import metrics
from parley_runtime.bus import Bus, Subscription, Wake
from parley_runtime.store import (
    ENDED,
    INTERRUPTED,
    LoggedEvent,
    Store,
    StoredTask,
)
from parley_runtime.task import fold
from parley_runtime.wire import task_json

_LOOK_AGAIN = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds of silence after which the store is asked (the bus may lose), longer the longer it lasts."""
_PARKING = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Waits between an interrupted event and the check whether its execution has let go."""

_TURNS = ENDED | INTERRUPTED
"""States after which there is more to do for a reader than to pass events on."""
_PAGE = 1000
"""Events read from the store at once."""
_PATIENCE = 30.0
"""Seconds for which a store that is away is only silence to who follows a log."""

T = TypeVar("T")
_Question = tuple[str, int]


class Batch(list[LoggedEvent]):
    """Some consecutive events; `task` is the Task after the last, when it came with them."""

    __slots__ = ("task",)

    def __init__(self, events: Iterable[LoggedEvent], task: pb.Task | None = None) -> None:
        super().__init__(events)
        self.task = task


class Outlet:
    """Where a stream can be written to without waiting, while it can; `write` says whether it was."""

    __slots__ = ("write",)

    def __init__(self) -> None:
        self.write: Callable[[Sequence[LoggedEvent]], bool] | None = None


class _Place:
    """How far a reader is. What is heard while it waits, and simply follows, goes straight to the outlet: a crowd of
    streams is served without waking a task for each."""

    __slots__ = ("_outlet", "last")

    def __init__(self, last: int, outlet: Outlet | None) -> None:
        self.last = last
        self._outlet = outlet

    def take(self, wake: Wake) -> float:
        events = wake.events
        if self._outlet is None or self._outlet.write is None or not 0 < len(events) < _PAGE:
            return 0.0
        final = events[-1]
        follows = events[0].generation == self.last + 1 and final.generation == self.last + len(events)
        if not follows or final.state in _TURNS or not self._outlet.write(events):
            return 0.0
        self.last = final.generation
        metrics.STREAM_LAG.observe(max(0.0, time.time() - final.at))
        return _LOOK_AGAIN[0]


class Reader:
    """Follows task logs in this process."""

    def __init__(self, store: Store, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._asked: dict[_Question, asyncio.Task[Sequence[LoggedEvent]]] = {}
        self._to_ask: dict[_Question, asyncio.Task[Sequence[LoggedEvent]]] = {}

    def listen(self, task_id: str, context_id: str) -> Subscription:
        """Start hearing of a task before anything is asked of it, so that nothing falls between."""
        return self._bus.subscribe(task_id, context_id)

    async def follow(
        self,
        task_id: str,
        after: int,
        *,
        ear: Subscription,
        work: int = 0,
        fresh: bool = False,
        head: LoggedEvent | None = None,
        outlet: Outlet | None = None,
    ) -> AsyncGenerator[Batch, None]:
        """The events after generation `after`, in order, without gap or repeat, as they are committed.

        Ends when the task ends; or, after an event of work entry `work` or a later one left it interrupted, when
        no work on it is left. With `work` (the reader waits for that entry) also when no work is left for any other
        reason: the executor returned without ending the task. `fresh`: the log is known to hold nothing yet, so
        the store is not asked first. `head` is given out before everything else. Where the log that is still to be read
        has been compacted meanwhile, the Task comes in its place. What the `outlet` takes is not given out.
        """
        place, wait = _Place(after, outlet), 0
        interrupted = False
        try:
            if head is not None:
                out, ended = Batch([head]), head.state in ENDED
                head = None
                yield out
                del out
                if ended:
                    return
            batch = Wake() if fresh else Wake(await self._ask(task_id, after))
            while True:
                new, gap = _in_order(batch.events, place.last)
                if gap:
                    new, batch = list(await self._events(task_id, place.last)), Wake()
                    if not new or new[0].generation > place.last + 1:
                        new = await self._in_place_of(task_id, place.last)
                if new:
                    out = Batch(new, batch.task if _same_end(batch.events, new) else None)
                    metrics.STREAM_LAG.observe(max(0.0, time.time() - new[-1].at))
                    place.last, wait = new[-1].generation, 0
                    ended = new[-1].state in ENDED
                    interrupted = new[-1].state in INTERRUPTED and new[-1].work >= work
                    del new, batch  # what waits for long holds nothing it has passed on
                    full = len(out) >= _PAGE
                    yield out
                    del out
                    if ended:
                        return
                    if full:  # the log may go on behind it, and nobody need say so
                        batch = Wake(await self._events(task_id, place.last))
                        continue
                steps = _PARKING if interrupted else _LOOK_AGAIN
                timeout, before = steps[min(wait, len(steps) - 1)], place.last
                wake = await ear.next(timeout, None if interrupted else place.take)
                if place.last > before:
                    wait = 0
                if wake is not None and wake.events:
                    batch = wake
                    del wake
                    continue
                batch = Wake(await self._events(task_id, place.last))
                if not batch.events:
                    wait += 1
                    if interrupted or work or wait == len(_LOOK_AGAIN):
                        stored = await _patiently(lambda: self._store.load(task_id))
                        if stored is None:
                            return
                        if stored.log_from > place.last + 1:
                            batch = Wake([snapshot_event(stored)])
                        elif stored.generation <= place.last and (
                            stored.state in ENDED or ((interrupted or work) and not stored.busy)
                        ):
                            return
        finally:
            ear.close()

    async def _events(self, task_id: str, after: int) -> Sequence[LoggedEvent]:
        return await _patiently(lambda: self._ask(task_id, after))

    async def _ask(self, task_id: str, after: int) -> Sequence[LoggedEvent]:
        """The log as it is now or a little later. All who ask for the same before the store has been asked are answered
        together: however many follow a task, it is one question at a time."""
        question = (task_id, after)
        asking = self._to_ask.get(question)
        if asking is None:
            asking = asyncio.create_task(self._answer(question, self._asked.get(question)), name="reader-ask")
            self._to_ask[question] = asking
            asking.add_done_callback(_answered)
        return await asyncio.shield(asking)

    async def _answer(
        self, question: "_Question", before: "asyncio.Task[Sequence[LoggedEvent]] | None"
    ) -> Sequence[LoggedEvent]:
        if before is not None:  # it may lack what was committed since the store was asked
            await asyncio.wait([before])
        asking = self._asked[question] = self._to_ask.pop(question)
        try:
            return await self._store.events(*question, _PAGE)
        finally:
            if self._asked.get(question) is asking:
                del self._asked[question]

    async def _in_place_of(self, task_id: str, last: int) -> list[LoggedEvent]:
        """The Task as one event, when the log after `last` has been compacted."""
        stored = await _patiently(lambda: self._store.load(task_id))
        return [snapshot_event(stored)] if stored is not None and stored.log_from > last + 1 else []


def snapshot_event(stored: StoredTask, config: pb.SendMessageConfiguration | None = None) -> LoggedEvent:
    """The Task as it is, as one event under its generation."""
    task = fold(stored)
    assert task is not None
    body = orjson.dumps({"task": task_json(apply_history_length(task, config))})
    return LoggedEvent(stored.generation, body, stored.state, time.time(), 0)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What is asked of the store; while it is away, it is asked again for some time."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return await ask()
        except Unavailable:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(_LOOK_AGAIN[0])


def _answered(asked: "asyncio.Task[Sequence[LoggedEvent]]") -> None:
    if not asked.cancelled():
        asked.exception()  # who asked may all have gone meanwhile


def _in_order(events: Sequence[LoggedEvent], last: int) -> tuple[list[LoggedEvent], bool]:
    """What of these follows `last` without gap or repeat, and whether something is missing behind it."""
    new: list[LoggedEvent] = []
    for event in events:
        if event.generation == last + len(new) + 1:
            new.append(event)
        elif event.generation > last + len(new) + 1:
            return new, True
    return new, False


def _same_end(events: Sequence[LoggedEvent], new: Sequence[LoggedEvent]) -> bool:
    return bool(events) and events[-1].generation == new[-1].generation
