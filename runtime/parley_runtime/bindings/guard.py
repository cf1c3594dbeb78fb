"""What every door goes through: a RequestHandler before the front that lets only good requests in and only
the protocol's errors out.
"""

import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, TypeVar

from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue import Event
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError, InternalError
from google.protobuf.message import DecodeError

from parley_core.errors import Unavailable
from parley_core.telemetry import current_trace
from parley_runtime import rules
from parley_runtime.bindings.decode import invalid
from parley_runtime.bindings.failures import BacklogFullError, LoginNeededError, TryAgainError
from parley_runtime.front import Front
from parley_runtime.store import LoggedEvent, Overloaded

logger = logging.getLogger(__name__)

T = TypeVar("T")
Batches = AsyncIterator[Sequence[LoggedEvent]]

reached: ContextVar[bool] = ContextVar("parley_front_reached", default=False)
"""Whether this call got as far as the front: what fails before is the request's fault, after it ours."""


class Guard(RequestHandler):
    """The front as the bindings see it. Raises nothing but a2a.utils.errors."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def on_message_send(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> pb.Task | pb.Message:
        return await self._call(self._front.on_message_send, params, context)

    async def on_get_task(self, params: pb.GetTaskRequest, context: ServerCallContext) -> pb.Task:
        return await self._call(self._front.on_get_task, params, context)

    async def on_list_tasks(
        self, params: pb.ListTasksRequest, context: ServerCallContext
    ) -> pb.ListTasksResponse:
        return await self._call(self._front.on_list_tasks, params, context)

    async def on_cancel_task(
        self, params: pb.CancelTaskRequest, context: ServerCallContext
    ) -> pb.Task | None:
        return await self._call(self._front.on_cancel_task, params, context)

    async def on_create_task_push_notification_config(
        self, params: pb.TaskPushNotificationConfig, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        return await self._call(self._front.on_create_task_push_notification_config, params, context)

    async def on_get_task_push_notification_config(
        self, params: pb.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        return await self._call(self._front.on_get_task_push_notification_config, params, context)

    async def on_list_task_push_notification_configs(
        self, params: pb.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        return await self._call(self._front.on_list_task_push_notification_configs, params, context)

    async def on_delete_task_push_notification_config(
        self, params: pb.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        return await self._call(self._front.on_delete_task_push_notification_config, params, context)

    async def on_get_extended_agent_card(
        self, params: pb.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> pb.AgentCard:
        card = await self._call(self._front.on_get_extended_agent_card, params, context)
        if not context.user.is_authenticated:
            raise LoginNeededError(
                "The extended card is for callers who prove who they are: send Authorization: Bearer … "
                "(a host without PARLEY_AUTH_… knows nobody)"
            )
        return card

    async def send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext, after: int | None
    ) -> Batches:
        """The log of the exchange in batches, from after generation `after`. Raises A2AError at once when
        the message is refused. What the iterator raises goes through `translate`."""
        return await self._call(self._front.send_stream, params, context, after)

    async def subscribe_stream(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext, after: int | None
    ) -> Batches:
        """The same for SubscribeToTask."""
        return await self._call(self._front.subscribe_stream, params, context, after)

    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        async for event in self._events(self._front.on_message_send_stream, params, context):
            yield event

    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        async for event in self._events(self._front.on_subscribe_to_task, params, context):
            yield event

    async def _call(self, method: Callable[..., Awaitable[T]], params: Any, *rest: object) -> T:
        _check_storable(params)
        reached.set(True)
        try:
            return await method(params, *rest)
        except A2AError:
            raise
        except Exception as error:
            raise translate(error) from error

    async def _events(
        self, method: Callable[..., AsyncGenerator[Event, None]], params: Any, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        _check_storable(params)
        reached.set(True)
        try:
            async with aclosing(method(params, context)) as events:
                async for event in events:
                    yield event
        except A2AError:
            raise
        except Exception as error:
            raise translate(error) from error


def translate(error: Exception) -> A2AError:
    """The protocol's error for whatever was raised; logs it when it is a fault of ours."""
    if isinstance(error, A2AError):
        return error
    if isinstance(error, Overloaded):
        return BacklogFullError(str(error), {"retryAfter": str(math.ceil(error.retry_after))})
    if isinstance(error, Unavailable):
        logger.warning("call refused for now: %s", error)
        return TryAgainError()
    if not reached.get():
        logger.info("request refused before the front: %s", type(error).__name__)
        return invalid("The parameters cannot be read as this operation's request")
    logger.error("unexpected error in a call", exc_info=error)
    trace = current_trace.get()
    return InternalError(
        f"Internal error; the operator finds it under trace {trace.trace_id}" if trace else "Internal error"
    )


def last_event_id(value: str | None) -> int | None:
    """The generation a `Last-Event-ID` names, None without one. Raises InvalidParamsError."""
    if not value:
        return None
    if value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    raise invalid("Invalid Last-Event-ID", ("Last-Event-ID", "must be the id of an event of this stream"))


async def close(batches: Batches) -> None:
    """Close an iterator at once, if it is one that can be closed."""
    aclose = getattr(batches, "aclose", None)
    if aclose is not None:
        await aclose()


def _check_storable(params: Any) -> None:
    """Refuse what the store could not find or keep: names that no database holds, and messages that could not be read
    back once they are part of a stored task (protobuf's limit on nesting)."""
    if not isinstance(params, pb.SendMessageRequest):  # whose names are checked wherever it comes in
        return rules.check_names(params)
    try:
        pb.StreamResponse(task=pb.Task(history=[params.message], metadata=params.metadata))
    except DecodeError:
        raise invalid("The message nests too deeply; flatten its data or send it as raw") from None
