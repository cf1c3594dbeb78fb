"""One execution: the executor is run on the work's log, and what becomes of it is written there."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from a2a.server.agent_execution import AgentExecutor
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError

from parley_core.blobs import BlobError
from parley_core.telemetry import log_fields, parse_traceparent, span
from parley_runtime import metrics
from parley_runtime.bus import Bus, Wake
from parley_runtime.cancelling import Canceller, was_cancelled
from parley_runtime.dispatch import unpack
from parley_runtime.executor import Steps, TaskLog, failed, on_crash, request_context
from parley_runtime.payloads import Payloads, current_payloads
from parley_runtime.prompts import HostPrompts, Using, current_prompts
from parley_runtime.queue import Queue
from parley_runtime.steps import LeaseLost, current_steps
from parley_runtime.store import Store, StoredTask, Work
from parley_runtime.task import TaskFold, fold

log = logging.getLogger(__name__)

_NOTHING = Wake()
_TOO_LATE = "The deadline passed while the task waited; it was not run."


@dataclass(slots=True)
class Running:
    """Work that this process runs."""

    work: Work
    log: TaskLog | None = None
    task: "asyncio.Task[None] | None" = None
    handed_over: bool = False
    """Another worker has it, or will have it: whatever it still does counts no more."""
    letting_go: bool = False
    """Its work entry may have ended by now, although it still runs."""


class Execution:
    """Runs work that is leased to this process, one entry at a time for each task."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        queue: Queue,
        executor: AgentExecutor,
        canceller: Canceller,
        *,
        agent: str,
        version: str,
        max_attempts: int,
        pushed: Callable[[], None],
        payloads: Payloads,
        prompts: HostPrompts,
    ) -> None:
        self._store = store
        self._bus = bus
        self._queue = queue
        self._executor = executor
        self._canceller = canceller
        self._agent = agent
        self._version = version
        self._max_attempts = max_attempts
        self._pushed = pushed
        self._payloads = payloads
        self._prompts = prompts

    async def run(self, running: Running) -> None:
        """Run it to its end. Raises what is no fault of the executor's, with the work still leased."""
        work = running.work
        fields = log_fields.set({"task_id": work.task_id, "context_id": work.context_id})
        try:
            with span(
                "parley.execute",
                parse_traceparent(work.traceparent),
                **{"a2a.task.id": work.task_id, "gen_ai.agent.name": self._agent},
            ):
                await self._execute(running)
        finally:
            log_fields.reset(fields)

    async def _execute(self, running: Running) -> None:
        work = running.work
        # An accepting process that takes the work at once knows that the task has epoch 1 and nothing but, perhaps,
        # its first event; every other execution begins from what is stored.
        stored = None if work.epoch == 1 and not work.shown else await self._store.load(work.task_id)
        events = TaskLog(
            self._store, self._bus, work, fold_of(work, stored, self._version), self._pushed, self._payloads
        )
        running.log = events
        running.letting_go = work.kind == "cancel"
        try:
            if work.kind == "cancel":
                await self._canceller.cancel(work, events, stored)
            elif (refusal := self._not_to_run(work)) is not None:
                await events.enqueue_event(failed(refusal))
                await self._let_go(work, events)
            else:
                await self._message(running, events, stored)
        except LeaseLost:
            log.warning(
                "lost the lease of task %s (epoch %d); another worker has it", work.task_id, work.epoch
            )

    def _not_to_run(self, work: Work) -> str | None:
        """Why work is failed without being run, if it is."""
        if work.expired:
            metrics.EXPIRED.labels(self._agent).inc()
            return _TOO_LATE
        if work.attempt > 1 and on_crash(self._executor) == "fail":
            return "The worker running this task stopped, and the agent does not retry."
        if work.attempt > self._max_attempts:
            return f"Given up after {self._max_attempts} attempts: each time the worker running this task stopped."
        return None

    async def _message(self, running: Running, events: TaskLog, stored: StoredTask | None) -> None:
        work = running.work
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
        using = Using(self._prompts)
        events.noting(using)
        current_prompts.set(using)
        first = work.number == 1 and work.epoch == 1
        # On a first execution the SDK shows no current task, even if the caller has been given one already.
        current = None if first or stored is None else fold(stored)
        context = request_context(work, call.context(), request, current)
        token = current_steps.set(await Steps.of(self._store, work, events))
        try:
            await self._executor.execute(context, events)
        except asyncio.CancelledError:
            if running.handed_over or events.fold.ended:
                return
            if was_cancelled():
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
            events.check()
            log.exception("the executor failed on task %s", work.task_id)
            if not running.handed_over:
                await events.enqueue_event(failed(f"The agent failed: {type(error).__name__}: {error}"))
        finally:
            current_steps.reset(token)
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


def fold_of(work: Work, stored: StoredTask | None, version: str = "") -> TaskFold:
    """The task as this work finds it, ready to be written by an agent of that version."""
    message = None
    if work.kind == "message":
        message = pb.SendMessageRequest.FromString(unpack(work.request)[1]).message
    if stored is None:
        return TaskFold(work.task_id, work.context_id, None, 0, message, version)
    return TaskFold(work.task_id, work.context_id, fold(stored), stored.generation, message, version)


async def expire(store: Store, bus: Bus, work: Work, agent: str, pushed: Callable[[], None]) -> None:
    """Fail work whose deadline passed while it waited, where no executor is at hand. Raises Unavailable."""
    events = TaskLog(store, bus, work, fold_of(work, await store.load(work.task_id)), pushed)
    try:
        await events.enqueue_event(failed(_TOO_LATE))
        await events.flush()
    except LeaseLost:
        return  # somebody else has it, and does the same
    metrics.EXPIRED.labels(agent).inc()
    metrics.TASKS.labels(agent, work.version, "failed").inc()
