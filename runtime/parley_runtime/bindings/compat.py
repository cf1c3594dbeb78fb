"""A2A 0.3 over HTTP: the a2a-sdk's adapters, with input refused where they would fail and errors kept inside."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, ClassVar

from a2a.compat.v0_3 import a2a_v0_3_pb2 as pb_v03
from a2a.compat.v0_3 import conversions
from a2a.compat.v0_3.jsonrpc_adapter import JSONRPC03Adapter
from a2a.compat.v0_3.rest_adapter import REST03Adapter
from a2a.server.context import ServerCallContext
from a2a.utils import json_utils
from a2a.utils.errors import A2AError
from google.protobuf.message import Message
from pydantic import ValidationError
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from parley_runtime.bindings.context import http_context, version_of
from parley_runtime.bindings.decode import invalid
from parley_runtime.bindings.failures import rest_error
from parley_runtime.bindings.guard import translate
from parley_runtime.bindings.versions import V0_3, require

RequestId = str | int | None


class JsonRpcCompat(JSONRPC03Adapter):
    """The 0.3 methods of the JSON-RPC endpoint."""

    async def answer(
        self, scope: Scope, request_id: RequestId, method: str, envelope: dict[str, Any]
    ) -> Response:
        """The response to a parsed 0.3 request. Raises A2AError for what is wrong before the operation."""
        require(version_of(http_context(scope)), V0_3)
        try:
            model: Any = self.METHOD_TO_MODEL[method]
            model.model_validate(envelope)
        except ValidationError as error:
            faults = [(".".join(str(at) for at in found["loc"]), found["msg"]) for found in error.errors()]
            raise invalid("Invalid parameters", *faults) from None
        return await self.handle_request(request_id, method, envelope, Request(scope))

    async def _process_non_streaming_request(
        self, request_id: RequestId, request_obj: Any, context: ServerCallContext
    ) -> JSONResponse:
        try:
            return await super()._process_non_streaming_request(request_id, request_obj, context)
        except A2AError:
            raise
        except Exception as error:
            raise translate(error) from error

    async def _process_streaming_request(
        self, request_id: RequestId, request_obj: Any, context: ServerCallContext
    ) -> EventSourceResponse:
        if request_obj.method == "message/stream":
            try:
                conversions.to_core_send_message_request(request_obj)
            except Exception as error:
                raise translate(error) from error
        return await super()._process_streaming_request(request_id, request_obj, context)


class RestCompat(REST03Adapter):
    """The 0.3 routes of the HTTP+JSON binding. Endpoints raise what goes wrong before the first event."""

    BODIES: ClassVar[Mapping[tuple[str, str], type[Message]]] = {
        ("/v1/message:send", "POST"): pb_v03.SendMessageRequest,
        ("/v1/message:stream", "POST"): pb_v03.SendMessageRequest,
        (
            "/v1/tasks/{id}/pushNotificationConfigs",
            "POST",
        ): pb_v03.CreateTaskPushNotificationConfigRequest,
    }

    async def _handle_request(
        self, method: Callable[[Request, ServerCallContext], Awaitable[Any]], request: Request
    ) -> Response:
        return JSONResponse(await method(request, self._context_builder.build(request)))

    async def _handle_streaming_request(
        self, method: Callable[[Request, ServerCallContext], AsyncIterator[Any]], request: Request
    ) -> EventSourceResponse:
        events = method(request, self._context_builder.build(request))
        first = await anext(events, None)
        return EventSourceResponse(_lines(first, events))


async def _lines(first: Any, events: AsyncIterator[Any]) -> AsyncIterator[ServerSentEvent]:
    try:
        if first is not None:
            yield ServerSentEvent(data=json_utils.dumps(first))
        async for item in events:
            yield ServerSentEvent(data=json_utils.dumps(item))
    except Exception as error:  # noqa: BLE001 - the client is told, in the protocol's words
        yield ServerSentEvent(data=rest_error(translate(error)).decode(), event="error")
