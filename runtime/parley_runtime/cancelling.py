"""Cancelling: the executor is asked, of work that runs here or that waits, and its answer is written."""

import asyncio
import logging
from collections.abc import Callable

from a2a.server.agent_execution import AgentExecutor
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError

from parley_runtime import metrics
from parley_runtime.bus import Bus, Wake
from parley_runtime.dispatch import unpack
from parley_runtime.executor import TaskLog, request_context
from parley_runtime.payloads import Payloads, current_payloads
from parley_runtime.steps import LeaseLost
from parley_runtime.store import ENDED, Store, StoredTask, Work

log = logging.getLogger(__name__)

_NOTHING = Wake()


class Canceller:
    """Carries out requests to cancel that are leased to this process."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        executor: AgentExecutor,
        *,
        agent: str,
        max_attempts: int,
        payloads: Payloads,
    ) -> None:
        self._store = store
        self._bus = bus
        self._executor = executor
        self._agent = agent
        self._max_attempts = max_attempts
        self._payloads = payloads
        self._asking: set[asyncio.Task[None]] = set()

    def start(
        self, cancel: Work, events: TaskLog, execution: "asyncio.Task[None]", undone: Callable[[], None]
    ) -> None:
        """Cancel what runs here, beside it; `undone` is called when that could not be tried to its end."""
        task = asyncio.create_task(
            self._cancel_running(cancel, events, execution), name=f"cancel:{cancel.task_id}"
        )
        self._asking.add(task)
        task.add_done_callback(lambda done: self._gone(done, cancel, undone))

    def _gone(self, done: "asyncio.Task[None]", cancel: Work, undone: Callable[[], None]) -> None:
        self._asking.discard(done)
        if not done.cancelled() and (error := done.exception()):
            log.error("task %s could not be cancelled; it is tried again", cancel.task_id, exc_info=error)
            undone()

    async def _cancel_running(self, cancel: Work, events: TaskLog, execution: "asyncio.Task[None]") -> None:
        try:
            if await self._ask(cancel, events):
                execution.cancel()
        except LeaseLost:
            log.warning("lost the lease of task %s while cancelling it", cancel.task_id)

    async def cancel(self, work: Work, events: TaskLog, stored: StoredTask | None) -> None:
        """Cancel a task that does not run anywhere."""
        if stored is not None and stored.state in ENDED:
            await self._store.finish(work.task_id, work.epoch, work.number)
            return
        await self._ask(work, events)

    async def _ask(self, cancel: Work, events: TaskLog) -> bool:
        """Have the executor cancel; True when the task has ended, False when the executor refused."""
        call, _ = unpack(cancel.request)
        current_payloads.set(self._payloads)
        snapshot = None
        if events.fold.task is not None:
            snapshot = pb.Task()
            snapshot.CopyFrom(events.fold.task)
        try:
            if (
                cancel.attempt <= self._max_attempts
            ):  # else its worker stopped each time: it is cancelled unasked
                await self._executor.cancel(request_context(cancel, call.context(), None, snapshot), events)
        except LeaseLost:
            raise
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            # An executor that cannot cancel says so by raising anything (what it awaits of itself was cancelled, too).
            if isinstance(error, asyncio.CancelledError) and was_cancelled():
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


def was_cancelled() -> bool:
    """Whether the current asyncio task itself is being cancelled, and not something that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
