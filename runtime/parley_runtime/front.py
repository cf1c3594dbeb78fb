"""The front: accepts messages, reads logs. It is the a2a-sdk's RequestHandler, and holds nothing of a task."""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as a2a
from a2a.utils.task import apply_history_length

from parley_core.telemetry import current_trace, new_trace
from parley_runtime import cursor, rules
from parley_runtime.acceptance import Acceptance, LocalWorker, PushConfigs, protocol_error
from parley_runtime.admission import Admission, owner_of
from parley_runtime.bus import Bus, Subscription
from parley_runtime.dispatch import Call, pack
from parley_runtime.payloads import Payloads
from parley_runtime.queue import Queue
from parley_runtime.reader import Outlet, Reader, snapshot_event
from parley_runtime.store import (
    ERROR,
    INTERRUPTED,
    MESSAGE,
    TERMINAL,
    Accepted,
    LoggedEvent,
    Store,
    StoredTask,
    TaskEnded,
    TaskFilter,
    UnknownTask,
)
from parley_runtime.streams import Stream, nothing, opened, parsed, reply, resumed
from parley_runtime.task import fold


class Front(RequestHandler):
    """All operations of A2A on a store. Errors are a2a-sdk's; see the specification's section 3.1 for each."""

    def __init__(
        self,
        card: pb.AgentCard,
        store: Store,
        bus: Bus,
        queue: Queue,
        push: PushConfigs,
        *,
        version: str,
        extended_card: pb.AgentCard | None = None,
        worker: LocalWorker | None = None,
        cancel_wait: float = 10.0,
        payloads: Payloads | None = None,
        admission: Admission | None = None,
        begins_on: Callable[[str], str] | None = None,
    ) -> None:
        self.card = card
        self.extended_card = extended_card
        self._store = store
        self._queue = queue
        self._push = push
        self._reader = Reader(store, bus)
        self._acceptance = Acceptance(
            card, store, bus, queue, self._reader, push, version, worker, payloads, admission, begins_on
        )
        self._cancel_wait = cancel_wait

    # -- sending (3.1.1, 3.1.2)

    async def on_message_send(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> pb.Task | pb.Message:
        """The task (or the agent's Message) once it has ended or wants something; at once with `return_immediately`."""
        at_once = params.configuration.return_immediately
        accepted, ear = await self._acceptance.accept(params, context, shown=at_once)
        if at_once:
            ear.close()
            answer = await self._now(accepted.task_id)
        else:
            fresh = not accepted.duplicate and accepted.generation == 0
            answer = await self._outcome(accepted, ear, fresh)
        if isinstance(answer, pb.Task):
            return apply_history_length(answer, params.configuration)
        return answer

    async def submit(self, params: pb.SendMessageRequest, context: ServerCallContext) -> Accepted:
        """Accept a message for which nobody waits; its task is visible once the executor has said something."""
        accepted, ear = await self._acceptance.accept(params, context, shown=False)
        ear.close()
        return accepted

    async def send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext, after: int | None
    ) -> AsyncIterator[Sequence[LoggedEvent]]:
        """The events of a message's task as they are committed: first the Task (or the only Message), then updates.

        With `after` (Last-Event-ID) and the messageId of an earlier call: what followed that generation.
        """
        rules.require_streaming(self.card)
        accepted, ear = await self._acceptance.accept(params, context, shown=False)
        if after is None and params.message.task_id:
            ear.close()
            stored = await self._visible(accepted.task_id, None)
            return self._from_now(stored, params, work=accepted.number)
        start = after if after is not None else (0 if not params.message.task_id else accepted.generation)
        fresh = not accepted.duplicate and accepted.generation == start == 0
        head = None
        if accepted.duplicate and (known := await self._store.load(accepted.task_id)) is not None:
            start, head = resumed(known, start)
        outlet = Outlet()
        batches = self._reader.follow(
            accepted.task_id, start, work=accepted.number, ear=ear, fresh=fresh, head=head, outlet=outlet
        )
        return Stream(await opened(batches, ear, params.configuration), outlet)

    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """`send_stream` as protocol objects, for bindings that do not pass JSON on."""
        stream = await self.send_stream(params, context, context.state.get("after"))
        async for event in parsed(stream):
            yield event

    async def _now(self, task_id: str) -> pb.Task | pb.Message:
        stored = await self._store.load(task_id)
        if stored is not None and stored.state in (MESSAGE, ERROR):
            [event] = await self._store.events(task_id, 0)
            return reply(event)
        task = fold(stored) if stored is not None else None
        if (
            task is None
        ):  # a repeat of a message whose first sender chose to wait; there is nothing to show yet
            context_id = stored.context_id if stored is not None else ""
            ear = self._reader.listen(task_id, context_id)
            return await self._outcome(Accepted(task_id, context_id, 0, 1, True), ear, False)
        return task

    async def _outcome(self, accepted: Accepted, ear: Subscription, fresh: bool) -> pb.Task | pb.Message:
        if accepted.duplicate and (kept := await self._kept(accepted)) is not None:
            ear.close()
            return kept
        batches = self._reader.follow(
            accepted.task_id, accepted.generation, work=accepted.number, ear=ear, fresh=fresh
        )
        async with contextlib.aclosing(batches):
            async for batch in batches:
                last = batch[-1]
                if last.state in (MESSAGE, ERROR):
                    return reply(last)
                if last.state in TERMINAL or (last.state in INTERRUPTED and last.work >= accepted.number):
                    if batch.task is not None:
                        return batch.task
                    break
        stored = await self._store.load(accepted.task_id)
        task = fold(stored) if stored is not None else None
        if task is None:
            raise a2a.InternalError(message="The agent returned without an answer.")
        return task

    async def _kept(self, accepted: Accepted) -> pb.Task | None:
        """The Task, if all that is left of this exchange is the Task."""
        stored = await self._store.load(accepted.task_id)
        return None if stored is None or stored.log_from <= accepted.generation + 1 else fold(stored)

    # -- reading (3.1.3, 3.1.4, 3.1.6)

    async def on_get_task(self, params: pb.GetTaskRequest, context: ServerCallContext) -> pb.Task:
        rules.check_call(context, self.card)
        rules.check_history(params)
        rules.require_text(params.id, "id")
        stored = await self._visible(params.id, owner_of(context))
        task = fold(stored)
        if task is None:
            raise a2a.TaskNotFoundError
        return apply_history_length(task, params)

    async def on_list_tasks(
        self, params: pb.ListTasksRequest, context: ServerCallContext
    ) -> pb.ListTasksResponse:
        rules.check_call(context, self.card)
        rules.check_history(params)
        size = rules.page_size(params)
        after = params.status_timestamp_after
        wanted = TaskFilter(
            owner_of(context),
            params.context_id,
            params.status or None,
            after.seconds + after.nanos / 1e9 if params.HasField("status_timestamp_after") else None,
            cursor.decode(params.page_token) if params.page_token else None,
            size,
        )
        page = await self._store.list_tasks(wanted)
        answer = pb.ListTasksResponse(page_size=size, total_size=page.total)
        if page.next is not None:
            answer.next_page_token = cursor.encode(page.next)
        for stored in page.tasks:
            task = fold(stored)
            if task is not None:
                if not params.include_artifacts:
                    task.ClearField("artifacts")
                answer.tasks.append(apply_history_length(task, params))
        return answer

    async def subscribe_stream(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext, after: int | None
    ) -> AsyncIterator[Sequence[LoggedEvent]]:
        """The task as it is and what follows; with `after` (Last-Event-ID) just what followed that generation, of a
        task that has ended too."""
        rules.check_call(context, self.card)
        rules.require_streaming(self.card)
        rules.require_text(params.id, "id")
        stored = await self._visible(params.id, owner_of(context))
        if after is not None:
            if after > stored.generation:
                raise rules.invalid(
                    "Last-Event-ID", f"the task's last event is {stored.generation}, not {after}"
                )
            ear = self._reader.listen(params.id, stored.context_id)
            start, head = resumed(stored, after)
            if stored.state in TERMINAL and after == stored.generation:
                ear.close()
                return nothing()
            outlet = Outlet()
            batches = self._reader.follow(params.id, start, ear=ear, head=head, outlet=outlet)
            return Stream(await opened(batches, ear, None, wait=0), outlet)
        if stored.state in TERMINAL:
            state = pb.TaskState.Name(stored.state)
            raise a2a.UnsupportedOperationError(
                message=f"Task {params.id} has ended ({state}); use GetTask, or send Last-Event-ID for a missed tail"
            )
        return self._from_now(stored, None, work=0)

    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        stream = await self.subscribe_stream(params, context, context.state.get("after"))
        async for event in parsed(stream):
            yield event

    def _from_now(self, stored: StoredTask, params: pb.SendMessageRequest | None, *, work: int) -> Stream:
        head = snapshot_event(stored, params.configuration if params is not None else None)
        ear, outlet = self._reader.listen(stored.task_id, stored.context_id), Outlet()
        start = stored.generation
        batches = self._reader.follow(stored.task_id, start, ear=ear, work=work, head=head, outlet=outlet)
        return Stream(batches, outlet)

    async def _visible(self, task_id: str, owner: str | None) -> StoredTask:
        stored = await self._store.load(task_id, owner)
        if stored is None or not stored.visible:
            raise a2a.TaskNotFoundError(message=f"There is no task {task_id!r}", data={"taskId": task_id})
        return stored

    # -- cancelling (3.1.5)

    async def on_cancel_task(self, params: pb.CancelTaskRequest, context: ServerCallContext) -> pb.Task:
        rules.check_call(context, self.card)
        rules.require_text(params.id, "id")
        owner = owner_of(context)
        found = await self._visible(params.id, owner)
        trace = current_trace.get() or new_trace()
        ear = self._reader.listen(params.id, found.context_id)
        try:
            request = pack(Call.of(context, owner), params)
            await self._store.request_cancel(params.id, owner, request, trace.traceparent)
            self._queue.nudge()
            deadline = time.monotonic() + self._cancel_wait
            while (left := deadline - time.monotonic()) > 0:
                stored = await self._visible(params.id, owner)
                if stored.state in TERMINAL:
                    break
                if stored.refusal:
                    raise a2a.TaskNotCancelableError(
                        message=f"The agent cannot cancel this task: {stored.refusal}"
                    )
                await ear.next(min(left, 0.25))
        except TaskEnded as error:
            raise a2a.TaskNotCancelableError(message=f"Task {params.id} has already ended") from error
        except UnknownTask as error:
            raise protocol_error(error) from error
        finally:
            ear.close()
        task = fold(await self._visible(params.id, owner))
        assert task is not None
        return task

    # -- push configurations (3.1.7 – 3.1.10)

    async def on_create_task_push_notification_config(
        self, params: pb.TaskPushNotificationConfig, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        owner = await self._push_call(params.task_id, context)
        rules.require_text(params.url, "url")
        config = pb.TaskPushNotificationConfig()
        config.CopyFrom(params)
        config.id = config.id or config.task_id
        await self._push.check(config)
        return await self._push.set(owner, config)

    async def on_get_task_push_notification_config(
        self, params: pb.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        owner = await self._push_call(params.task_id, context)
        config = await self._push.get(owner, params.task_id, params.id)
        if config is None:
            raise a2a.TaskNotFoundError(
                message=f"There is no push notification config {params.id!r} for this task"
            )
        return config

    async def on_list_task_push_notification_configs(
        self, params: pb.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        owner = await self._push_call(params.task_id, context)
        start = rules.offset(params.page_token)
        configs = list(await self._push.list(owner, params.task_id))
        size = params.page_size if params.page_size > 0 else len(configs)
        more = start + size < len(configs)
        return pb.ListTaskPushNotificationConfigsResponse(
            configs=configs[start : start + size], next_page_token=str(start + size) if more else ""
        )

    async def on_delete_task_push_notification_config(
        self, params: pb.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        owner = await self._push_call(params.task_id, context)
        await self._push.delete(owner, params.task_id, params.id)

    async def _push_call(self, task_id: str, context: ServerCallContext) -> str:
        rules.check_call(context, self.card)
        rules.require_push(self.card)
        rules.require_text(task_id, "taskId")
        owner = owner_of(context)
        await self._visible(task_id, owner)
        return owner

    # -- the card (3.1.11)

    async def on_get_extended_agent_card(
        self, params: pb.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> pb.AgentCard:
        if not self.card.capabilities.extended_agent_card:
            raise a2a.UnsupportedOperationError(message="The agent has no extended card")
        if self.extended_card is None:
            raise a2a.ExtendedAgentCardNotConfiguredError
        return self.extended_card
