"""Accepting a message: checked, stored in one transaction, and handed to a worker. After the commit nothing loses it."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as a2a

from parley_core.telemetry import current_trace, new_trace
from parley_runtime import metrics, rules
from parley_runtime.admission import Admission, owner_of
from parley_runtime.bus import Bus, Subscription, Wake
from parley_runtime.dispatch import Call, digest, pack
from parley_runtime.payloads import Payloads
from parley_runtime.queue import Queue
from parley_runtime.reader import Reader
from parley_runtime.store import (
    Accepted,
    ContextMismatch,
    LoggedEvent,
    MessageIdReused,
    NewEvent,
    NewMessage,
    Overloaded,
    Store,
    TaskEnded,
    TooManyConfigs,
    UnknownTask,
    Work,
)
from parley_runtime.task import submitted


class LocalWorker(Protocol):
    """The worker of this process, if it has one: work may be accepted and taken in one step."""

    name: str

    @property
    def free(self) -> int: ...

    def start(self, work: Work) -> None: ...


class PushConfigs(Protocol):
    """Where push configurations are kept (see parley_runtime.push)."""

    async def check(self, config: pb.TaskPushNotificationConfig) -> None:
        """Raise InvalidParamsError when its URL must not be called."""

    async def set(
        self, owner: str, config: pb.TaskPushNotificationConfig
    ) -> pb.TaskPushNotificationConfig: ...

    async def get(self, owner: str, task_id: str, config_id: str) -> pb.TaskPushNotificationConfig | None: ...

    async def list(self, owner: str, task_id: str) -> Sequence[pb.TaskPushNotificationConfig]: ...

    async def delete(self, owner: str, task_id: str, config_id: str) -> None: ...


class Acceptance:
    """Takes messages in, in a process of one agent version. `begins_on` gives the version that a context begins on which
    does not exist yet; one that exists keeps its own."""

    def __init__(
        self,
        card: pb.AgentCard,
        store: Store,
        bus: Bus,
        queue: Queue,
        reader: Reader,
        push: PushConfigs,
        version: str,
        worker: LocalWorker | None,
        payloads: Payloads | None = None,
        admission: Admission | None = None,
        begins_on: Callable[[str], str] | None = None,
    ) -> None:
        self.card = card
        self._store = store
        self._bus = bus
        self._queue = queue
        self._reader = reader
        self._push = push
        self._version = version
        self._begins_on = begins_on or (lambda _: version)
        self._worker = worker
        self._payloads = payloads or Payloads()
        self._admission = admission or Admission()

    async def accept(
        self, params: pb.SendMessageRequest, context: ServerCallContext, *, shown: bool
    ) -> tuple[Accepted, Subscription]:
        """Store a message and start its work; with it an ear that has listened since before. `shown`: a new task is
        visible at once. Raises the protocol's errors."""
        rules.check_message(params, context, self.card)
        terms = self._admission.terms(params, context)
        owner = owner_of(context)
        identity = digest(params.message)
        follow_up = bool(params.message.task_id)
        task_id = params.message.task_id or str(uuid.uuid4())
        named_context = params.message.context_id
        new_context = named_context or str(uuid.uuid4())
        request = pb.SendMessageRequest()
        request.CopyFrom(params)
        request.message.task_id = task_id
        if not follow_up:
            request.message.context_id = new_context
        elif not named_context and (stored := await self._store.load(task_id, owner)):
            request.message.context_id = stored.context_id
        push = await self._push_config(request, task_id)
        claims = await self._payloads.check_in(request.message)
        first, snapshot = (None, b"")
        if shown and not follow_up:
            first, snapshot = submitted(task_id, new_context, request.message)
        trace = current_trace.get() or new_trace()
        version = self._version if follow_up else self._begins_on(new_context)
        worker = self._worker if self._worker is not None and self._worker.free > 0 else None
        if version != self._version:
            worker = None
        ear = self._reader.listen(task_id, request.message.context_id)
        accepting = self._store.accept(
            NewMessage(
                owner,
                params.message.message_id,
                identity,
                task_id,
                follow_up,
                named_context,
                new_context,
                version,
                pack(Call.of(context, owner, claims), request),
                trace.traceparent,
                first,
                snapshot,
                push,
                terms.tenant,
                terms.priority,
                terms.expires_in,
            ),
            take_as=worker.name if worker is not None else "",
        )
        accepting.add_done_callback(lambda done: self._accepted(done, worker, first))
        try:
            accepted = await asyncio.shield(
                accepting
            )  # what is committed is started, though the caller be gone
        except BaseException as error:
            ear.close()
            if isinstance(error, Overloaded):
                metrics.REFUSED.labels(self.card.name).inc()
            raise protocol_error(error) from error
        if accepted.task_id != task_id:
            ear.close()
            ear = self._reader.listen(accepted.task_id, accepted.context_id)
        return accepted, ear

    def _accepted(
        self, done: "asyncio.Future[Accepted]", worker: LocalWorker | None, first: NewEvent | None
    ) -> None:
        if done.cancelled() or done.exception() is not None:
            return  # the caller is told
        accepted = done.result()
        if first is not None and not accepted.duplicate:  # programs may read the session from the bus alone
            event = LoggedEvent(1, first.body, first.state, accepted.at, accepted.number)
            self._bus.publish(accepted.task_id, accepted.context_id, Wake([event]))
        if accepted.work is not None and worker is not None:
            worker.start(accepted.work)
        elif not accepted.duplicate:
            self._queue.announce(accepted.version)

    async def _push_config(self, request: pb.SendMessageRequest, task_id: str) -> bytes:
        if not request.configuration.HasField("task_push_notification_config"):
            return b""
        rules.require_push(self.card)
        config = request.configuration.task_push_notification_config
        rules.require_text(config.url, "configuration.taskPushNotificationConfig.url")
        config.id = config.id or task_id  # as the SDK: sent with every message it stays one configuration
        config.task_id = task_id
        await self._push.check(config)
        return config.SerializeToString()


def protocol_error(error: BaseException) -> BaseException:
    match error:
        case UnknownTask():
            return a2a.TaskNotFoundError(message=str(error))
        case TaskEnded():
            return a2a.UnsupportedOperationError(message=str(error))
        case ContextMismatch():
            return rules.invalid("message.contextId", str(error))
        case TooManyConfigs():
            return rules.invalid("configuration.taskPushNotificationConfig", str(error))
        case MessageIdReused():
            return rules.invalid("message.messageId", str(error))
    return error
