"""Running an a2a-sdk AgentExecutor on a durable log: the adapter between its event queue and the store."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events.event_queue import EventQueue
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError

from parley_core.errors import Unavailable
from parley_runtime.bus import Bus, Wake
from parley_runtime.measures import measured
from parley_runtime.payloads import Payloads
from parley_runtime.prompts import Using
from parley_runtime.steps import LeaseLost, Scope, StepError
from parley_runtime.store import (
    ENDED,
    ERROR,
    INTERRUPTED,
    Append,
    Appended,
    LoggedEvent,
    NewEvent,
    StepRecord,
    Store,
    Work,
)
from parley_runtime.task import ExecutorEvent, TaskFold

log = logging.getLogger(__name__)

_PENDING = 256
"""Events an executor may be ahead of the store before it is made to wait."""
_PATIENCE = 20.0
"""Seconds for which what a step made waits for a store that is away, a try every …"""
_PAUSE = 0.2
TASK_SCOPE = 0
"""Work number under which steps of scope "task" are kept."""


class Again(Unavailable):
    """What an execution gives up with that is to be run again, as a further attempt."""


class TaskLog(EventQueue):
    """The event queue of one execution: what the executor says is folded, appended and, once committed, published.

    What is pending when an append returns goes with the next one. Raises LeaseLost to the executor when the store
    refuses an append because another worker holds the task.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        work: Work,
        fold: TaskFold,
        pushed: Callable[[], None] = lambda: None,
        payloads: Payloads | None = None,
    ) -> None:
        self.fold = fold
        self._payloads = payloads or Payloads()
        self._order = asyncio.Lock()
        self._lightening = 0
        self._pushed = pushed
        self.lost = False
        self.muted = False
        self._store = store
        self._bus = bus
        self._work = work
        self._pending: list[NewEvent] = []
        self._measures: dict[str, float] = {}
        self._first = fold.generation + 1
        self._in_flight = 0
        self._scheduled = False
        self._failure: BaseException | None = None
        self._idle: asyncio.Event | None = None
        self._since_yield = 0
        self._using: Using | None = None

    def noting(self, using: Using) -> None:
        """Have events say which prompts the execution uses."""
        self._using = using

    async def enqueue_event(self, event: ExecutorEvent) -> None:
        """Take an event from the executor (a2a-sdk's EventQueue)."""
        if self._lightening or not self._payloads.fits(event):
            return await self._enqueue_large(event)
        await self._take(event)

    async def _enqueue_large(self, event: ExecutorEvent) -> None:
        self._lightening += 1  # whoever comes while this one is being stored goes after it
        try:
            async with self._order:
                self.check()
                try:
                    event = await self._payloads.lightened(event)
                except Unavailable as error:
                    self.give_up(error)
                await self._take(event)
        finally:
            self._lightening -= 1

    def give_up(self, error: Unavailable) -> None:
        """Let the execution end without an outcome, since what it made cannot be kept, or made: the work is given back."""
        self._failure = error

    async def _take(self, event: ExecutorEvent) -> None:
        self.check()
        if self.muted:
            return
        if self.fold.ended:
            log.warning("the executor went on after the task had ended; %s ignored", type(event).__name__)
            return
        if self._using is not None:
            event = self._using.noted(event, self.fold.task)
        if reported := measured(event):
            self._measures |= reported
        for change in self.fold.change(event):
            self._pending.append(change)
        self._send_soon()
        self._since_yield += 1
        if len(self._pending) >= _PENDING:
            await self.flush()
        elif self._since_yield >= 64:
            self._since_yield = 0
            await asyncio.sleep(0)

    def refuse(self, error: A2AError) -> None:
        """Record a protocol error as the whole outcome (there is no task to show)."""
        self.fold.ended = True
        self.fold.generation += 1
        body = orjson.dumps(
            {"error": {"type": type(error).__name__, "message": error.message, "data": error.data}}
        )
        self._pending.append(NewEvent(body, ERROR))
        self._send_soon()

    async def flush(self) -> None:
        """Return when everything said so far is committed."""
        while self._pending or self._in_flight:
            self.check()
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()
        self.check()

    def check(self) -> None:
        """Raise LeaseLost, or what this execution was given up with, when nothing it says is kept any more."""
        if self.lost:
            raise LeaseLost("another worker has taken this task over")
        if self._failure is not None:
            raise self._failure

    def _send_soon(self) -> None:
        # In the next turn of the loop, so that what an executor says in one breath is one append.
        if self._pending and not self._in_flight and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        events, self._pending = self._pending, []
        measures, self._measures = self._measures, {}
        states = events[-1].state
        ends = states in ENDED
        append = Append(
            self._work.task_id,
            self._work.epoch,
            self._work.number,
            self._first,
            events,
            self.fold.snapshot_due(force=ends or states in INTERRUPTED),
            self._work.traceparent,
            ends,
            measures,
        )
        self._first += len(events)
        self._in_flight += 1
        self._store.append(append).add_done_callback(self._committed)

    def _committed(self, future: "asyncio.Future[Appended]") -> None:
        self._in_flight -= 1
        if future.cancelled() or future.exception() is not None:
            self._failure = future.exception() if not future.cancelled() else asyncio.CancelledError()
            self._pending.clear()
        elif not (appended := future.result()).events:
            self.lost = True
            self._pending.clear()
        else:
            self._publish(appended.events)
            if appended.pushes:
                self._pushed()
            if self._pending:
                self._send()
        if self._idle is not None and (not self._in_flight or self.lost or self._failure):
            self._idle.set()
            self._idle = (
                None  # several may wait on it; who waits from now on waits for what is said from now on
            )

    def _publish(self, logged: Sequence[LoggedEvent]) -> None:
        task = None
        if logged[-1].state in ENDED:
            task = self.fold.task  # nothing changes it any more
        elif logged[-1].state in INTERRUPTED and self.fold.task is not None and not self._pending:
            task = pb.Task()
            task.CopyFrom(self.fold.task)
        self._bus.publish(self._work.task_id, self._work.context_id, Wake(logged, task))


class Steps:
    """The durable steps of one execution (see parley_runtime.steps)."""

    def __init__(
        self, store: Store, work: Work, events: TaskLog, turn: dict[str, bytes], task: dict[str, bytes]
    ) -> None:
        self._store = store
        self._work = work
        self._events = events
        self._kept = {"turn": turn, "task": task}
        self._used: set[str] = set()

    @classmethod
    async def of(cls, store: Store, work: Work, events: TaskLog) -> "Steps":
        """The steps that earlier attempts (and, for scope "task", earlier turns) have finished."""
        if work.epoch == 1:
            return cls(store, work, events, {}, {})
        turn = {s.name: s.result for s in await store.steps(work.task_id, work.number)}
        task = {s.name: s.result for s in await store.steps(work.task_id, TASK_SCOPE)}
        return cls(store, work, events, turn, task)

    def finished(self, name: str, scope: Scope) -> bytes | None:
        if scope == "turn" and name in self._used:
            raise _twice(name)
        kept = self._kept[scope].get(name)
        if kept is not None:
            self._used.add(name)
        return kept

    async def keep(self, step: StepRecord, scope: Scope) -> None:
        if scope == "turn":
            if step.name in self._used:
                raise _twice(step.name)
            self._used.add(step.name)
        if not await self._recorded(step, TASK_SCOPE if scope == "task" else self._work.number):
            raise LeaseLost("another worker has taken this task over")
        self._kept[scope][step.name] = step.result

    async def _recorded(self, step: StepRecord, number: int) -> bool:
        """Whether the store took it. What a step did is not thrown away for a store that is back in a moment."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return await self._store.record_step(self._work.task_id, self._work.epoch, number, step)
            except Unavailable as error:
                if time.monotonic() > until:
                    self._events.give_up(error)
                    raise
            await asyncio.sleep(_PAUSE)


def _twice(name: str) -> StepError:
    return StepError(f"two steps of one execution are named {name!r}; give each a name of its own")


def on_crash(executor: AgentExecutor) -> str:
    """What the executor declares for a crash in the middle of it: "retry" (default) or "fail"."""
    return str(getattr(executor, "on_crash", "retry"))


def failed(reason: str) -> pb.TaskStatusUpdateEvent:
    """A status update to FAILED that says why."""
    message = pb.Message(
        message_id=f"failed-{time.time_ns():x}",
        role=pb.ROLE_AGENT,
        parts=[pb.Part(text=reason, media_type="text/plain")],
    )
    return pb.TaskStatusUpdateEvent(status=pb.TaskStatus(state=pb.TASK_STATE_FAILED, message=message))


def request_context(
    work: Work, call_context: Any, request: pb.SendMessageRequest | None, task: pb.Task | None
) -> RequestContext:
    """The RequestContext the SDK would give the executor for this work."""
    return RequestContext(call_context, request, task_id=work.task_id, context_id=work.context_id, task=task)
