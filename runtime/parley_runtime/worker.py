"""The worker: takes work under a lease, runs the executor, and lets go."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from a2a.server.agent_execution import AgentExecutor
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError

from parley_core.blobs import BlobError
from parley_core.errors import Unavailable
from parley_core.telemetry import log_fields, parse_traceparent, span
from parley_runtime import metrics
from parley_runtime.bus import Bus, Wake
from parley_runtime.dispatch import unpack
from parley_runtime.executor import Steps, TaskLog, failed, on_crash, request_context
from parley_runtime.payloads import Payloads, current_payloads
from parley_runtime.queue import Queue
from parley_runtime.steps import LeaseLost, current_steps
from parley_runtime.store import (
    ENDED,
    Store,
    StoredTask,
    Work,
)
from parley_runtime.task import TaskFold, fold

log = logging.getLogger(__name__)

_NOTHING = Wake()
_LOOK_AGAIN = 1.0
"""Seconds after which a worker that heard nothing looks for work (the queue's wake-ups may be lost)."""


@dataclass(slots=True)
class _Running:
    work: Work
    task: "asyncio.Task[None]"
    log: TaskLog | None = None
    handed_over: bool = False
    """Another worker has it, or will have it: whatever it still does counts no more."""
    letting_go: bool = False
    """Its work entry may have ended by now, although it still runs."""


@dataclass(frozen=True, slots=True)
class _GivenBack:
    """Work to be given back, not before a moment of the monotonic clock; `counts`: as a failed attempt."""

    work: Work
    counts: bool = True
    at: float = 0.0


class Worker:
    """Runs at most `concurrency` executions at once in this process, under the name `worker`."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        queue: Queue,
        executor: AgentExecutor,
        *,
        worker: str,
        agent: str,
        version: str,
        concurrency: int = 64,
        lease: float = 3.0,
        max_attempts: int = 5,
        pushed: Callable[[], None] = lambda: None,
        payloads: Payloads | None = None,
    ) -> None:
        self.name = worker
        self._store = store
        self._bus = bus
        self._queue = queue
        self._executor = executor
        self._agent = agent
        self._version = version
        self._concurrency = concurrency
        self._lease = lease
        self._max_attempts = max_attempts
        self._pushed = pushed
        self._payloads = payloads or Payloads()
        self._running: dict[str, _Running] = {}
        self._check_at = 0.0
        self._unfinished: list[_GivenBack] = []
        self._cancels: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._draining = False
        self._retired = False
        self._backlog = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def free(self) -> int:
        """How many more executions this worker would start now."""
        return 0 if self._draining else max(0, self._concurrency - len(self._running))

    async def register(self) -> None:
        """Announce this worker so that what it takes is leased to it."""
        await self._store.register_worker(self.name, self._version, self._lease)

    async def run(self) -> None:
        """Take and run work until `drain`; the owner's TaskGroup runs this beside `Sweeper.run`."""
        self._queue.attend(self._wake.set, lambda: self.free)
        while not self._draining:
            pause = _LOOK_AGAIN
            try:
                await self._give_back()
                await self._let_lost_go()
                if self._running:
                    for cancel in await self._store.take_cancels(self.name):
                        self._start_cancel(cancel)
                self._backlog = False
                pause = await self._take()
                self._backlog = not self.free
            except Unavailable as error:
                log.warning("cannot take work: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):  # wait_for may swallow a cancellation here
                    await self._wake.wait()
            self._wake.clear()

    async def _take(self) -> float:
        """Take what there is room for; seconds after which to look again."""
        while room := self.free:
            taken = await self._store.take(self.name, self._version, room)
            for work in taken.work:
                self.start(work)
            if taken.wait > 0:
                return min(taken.wait, _LOOK_AGAIN)
            if len(taken.work) < room:
                self._queue.nothing()
                break
        return _LOOK_AGAIN

    async def _give_back(self) -> None:
        now = time.monotonic()
        for given in [given for given in self._unfinished if given.at <= now]:
            work = given.work
            await self._store.release(work.task_id, work.epoch, work.number, counts=given.counts)
            self._unfinished.remove(given)

    async def _let_lost_go(self) -> None:
        """End executions whose lease another worker has, or may take: it ran out while this process stood still."""
        if not self._running or time.monotonic() < self._check_at:
            return
        before = list(self._running.values())
        held = await self._store.held(self.name)
        self._check_at = time.monotonic() + self._lease / 3
        for running in before:
            work = running.work
            ending = running.letting_go or (running.log is not None and running.log.fold.ended)
            if ending or running.task.done() or held.get(work.task_id) == work.epoch:
                continue
            log.warning(
                "lost the lease of task %s (epoch %d); another worker has it, and its execution ends here",
                work.task_id,
                work.epoch,
            )
            running.handed_over = True
            if running.log is not None:
                running.log.lost = True
            running.task.cancel()

    def start(self, work: Work) -> None:
        """Run work that is already leased to this worker."""
        if self._retired:
            return  # accepted at the last moment; it has been given back with all else
        self._idle.clear()
        if (stale := self._running.get(work.task_id)) is not None:
            stale.task.cancel()  # this process lost the lease, and has it again under a later epoch
        if work.attempt > 1:
            metrics.TAKEOVERS.labels(self._agent).inc()
        self._queue.begun(work)
        running = _Running(work, asyncio.create_task(self._run(work), name=f"task:{work.task_id}"))
        self._running[work.task_id] = running
        running.task.add_done_callback(lambda _: self._gone(running))

    async def drain(self, seconds: float) -> None:
        """Take no more; wait for what runs, then hand the rest over to other workers at once."""
        self._draining = True
        self._wake.set()
        self._queue.attend(None, lambda: 0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        left = list(self._running.values())
        for running in left:
            running.handed_over = True
            if running.log is not None:
                running.log.muted = True
            running.task.cancel()
        if left:
            log.info("handing over %d running tasks", len(left))
            await asyncio.wait([running.task for running in left], timeout=5.0)
        self._retired = True
        if freed := await self._store.retire_worker(self.name):
            self._queue.announce(self._version, freed)

    def _gone(self, running: _Running) -> None:
        self._queue.ended(running.work)
        if self._running.get(running.work.task_id) is running:
            del self._running[running.work.task_id]
        if not self._running:
            self._idle.set()
        parked = running.log is None or not running.log.fold.ended
        if running.task.cancelled():
            if parked and not running.handed_over:  # by the executor itself: nobody else has it, then
                log.error("the execution of task %s was cancelled; it is given back", running.work.task_id)
                self._unfinished.append(_GivenBack(running.work))
        elif isinstance(error := running.task.exception(), Unavailable):
            # The store's fault and not the message's: it may be tried for as long as that lasts, at a gentle pace.
            log.warning("task %s is given back: %s", running.work.task_id, error)
            counts = on_crash(self._executor) == "fail"
            self._unfinished.append(_GivenBack(running.work, counts, time.monotonic() + _LOOK_AGAIN))
        elif error:
            log.error(
                "task %s could not be run to its end; it is given back", running.work.task_id, exc_info=error
            )
            self._unfinished.append(_GivenBack(running.work))
        if (
            parked or self._backlog or self._unfinished
        ):  # a message may have waited for its turn, or for a free place
            self._wake.set()

    async def _run(self, work: Work) -> None:
        fields = log_fields.set({"task_id": work.task_id, "context_id": work.context_id})
        try:
            with span(
                "parley.execute",
                parse_traceparent(work.traceparent),
                **{"a2a.task.id": work.task_id, "gen_ai.agent.name": self._agent},
            ):
                await self._execute(work)
        finally:
            log_fields.reset(fields)

    async def _execute(self, work: Work) -> None:
        # An accepting process that takes the work at once knows that the task has epoch 1 and nothing but, perhaps,
        # its first event; every other execution begins from what is stored.
        stored = None if work.epoch == 1 and not work.shown else await self._store.load(work.task_id)
        events = TaskLog(self._store, self._bus, work, self._fold(work, stored), self._pushed, self._payloads)
        running = self._running.get(work.task_id)
        if running is not None:
            running.log = events
            running.letting_go = work.kind == "cancel"
        try:
            if work.kind == "cancel":
                await self._cancel(work, events, stored)
            else:
                await self._message(work, events, stored)
        except LeaseLost:
            log.warning(
                "lost the lease of task %s (epoch %d); another worker has it", work.task_id, work.epoch
            )

    def _fold(self, work: Work, stored: StoredTask | None) -> TaskFold:
        message = None
        if work.kind == "message":
            message = pb.SendMessageRequest.FromString(unpack(work.request)[1]).message
        if stored is None:
            return TaskFold(work.task_id, work.context_id, None, 0, message)
        return TaskFold(work.task_id, work.context_id, fold(stored), stored.generation, message)

    async def _message(self, work: Work, events: TaskLog, stored: StoredTask | None) -> None:
        if work.attempt > 1 and on_crash(self._executor) == "fail":
            await events.enqueue_event(
                failed("The worker running this task stopped, and the agent does not retry.")
            )
            return await events.flush()
        if work.attempt > self._max_attempts:
            reason = f"Given up after {self._max_attempts} attempts: each time the worker running this task stopped."
            await events.enqueue_event(failed(reason))
            return await events.flush()
        call, body = unpack(work.request)
        request = pb.SendMessageRequest.FromString(body)
        try:
            await self._payloads.check_out(request.message, call.claims)
        except BlobError as error:
            await events.enqueue_event(failed(f"A part of the message is lost: {error}"))
            return await self._let_go(work, events)
        if stored is not None:
            await self._payloads.use_again(events.fold.task)
        current_payloads.set(self._payloads)
        first = work.number == 1 and work.epoch == 1
        # On a first execution the SDK shows no current task, even if the caller has been given one already.
        current = None if first or stored is None else fold(stored)
        context = request_context(work, call.context(), request, current)
        running = self._running.get(work.task_id)
        token = current_steps.set(await Steps.of(self._store, work))
        try:
            await self._executor.execute(context, events)
        except asyncio.CancelledError:
            if running is not None and (running.handed_over or events.fold.ended):
                return
            if _cancelled():
                raise
            # Nobody cancelled this execution: something that it awaited was cancelled, and it let that through.
            await events.enqueue_event(
                failed("The agent failed: CancelledError: it awaited what was cancelled")
            )
        except LeaseLost:
            raise
        except A2AError as error:
            if events.fold.task is None:
                events.refuse(error)
            else:
                await events.enqueue_event(failed(error.message))
        except (
            Exception,
            SystemExit,
        ) as error:  # an executor may not end the host, with all that others run in it
            log.exception("the executor failed on task %s", work.task_id)
            if not (running is not None and running.handed_over):
                await events.enqueue_event(failed(f"The agent failed: {type(error).__name__}: {error}"))
        finally:
            current_steps.reset(token)
        if running is not None:
            if running.handed_over:
                return
            running.letting_go = True
        await self._let_go(work, events)

    async def _let_go(self, work: Work, events: TaskLog) -> None:
        if events.fold.generation == 0:
            await events.enqueue_event(failed("The agent returned without an answer."))
        await events.flush()
        if events.fold.ended:
            state = events.fold.task.status.state if events.fold.task is not None else None
            metrics.TASKS.labels(self._agent, work.version, metrics.state_name(state)).inc()
        else:
            parked = await self._store.finish(work.task_id, work.epoch, work.number)
            self._bus.publish(work.task_id, work.context_id, _NOTHING)
            if parked.waiting:
                self._queue.announce(work.version)

    def _start_cancel(self, cancel: Work) -> None:
        running = self._running.get(cancel.task_id)
        if running is None or running.log is None:
            self._unfinished.append(
                _GivenBack(cancel)
            )  # it has just let go: the request is given back and taken as work
            self._wake.set()
            return
        task = asyncio.create_task(self._cancel_running(cancel, running), name=f"cancel:{cancel.task_id}")
        self._cancels.add(task)
        task.add_done_callback(lambda done: self._cancel_gone(done, cancel))

    def _cancel_gone(self, done: "asyncio.Task[None]", cancel: Work) -> None:
        self._cancels.discard(done)
        if not done.cancelled() and (error := done.exception()):
            log.error("task %s could not be cancelled; it is tried again", cancel.task_id, exc_info=error)
            self._unfinished.append(_GivenBack(cancel))
            self._wake.set()

    async def _cancel_running(self, cancel: Work, running: _Running) -> None:
        assert running.log is not None
        try:
            if await self._ask_to_cancel(cancel, running.log, running.log.fold.task):
                running.task.cancel()
        except LeaseLost:
            log.warning("lost the lease of task %s while cancelling it", cancel.task_id)

    async def _cancel(self, work: Work, events: TaskLog, stored: StoredTask | None) -> None:
        if stored is not None and stored.state in ENDED:
            await self._store.finish(work.task_id, work.epoch, work.number)
            return
        await self._ask_to_cancel(work, events, events.fold.task)

    async def _ask_to_cancel(self, cancel: Work, events: TaskLog, task: pb.Task | None) -> bool:
        """Have the executor cancel; True when the task has ended, False when the executor refused."""
        call, _ = unpack(cancel.request)
        current_payloads.set(self._payloads)
        snapshot = None
        if task is not None:
            snapshot = pb.Task()
            snapshot.CopyFrom(task)
        try:
            if (
                cancel.attempt <= self._max_attempts
            ):  # else its worker stopped each time: it is cancelled unasked
                await self._executor.cancel(request_context(cancel, call.context(), None, snapshot), events)
        except LeaseLost:
            raise
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            # An executor that cannot cancel says so by raising anything (what it awaits of itself was cancelled, too).
            if isinstance(error, asyncio.CancelledError) and _cancelled():
                raise
            reason = error.message if isinstance(error, A2AError) else str(error) or type(error).__name__
            await self._store.finish(cancel.task_id, cancel.epoch, cancel.number, refusal=reason)
            self._bus.publish(cancel.task_id, cancel.context_id, _NOTHING)
            return False
        if not events.fold.ended:
            status = pb.TaskStatus(state=pb.TASK_STATE_CANCELED)
            await events.enqueue_event(pb.TaskStatusUpdateEvent(status=status))
        await events.flush()
        metrics.TASKS.labels(self._agent, cancel.version, "canceled").inc()
        return True


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
