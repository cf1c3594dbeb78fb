"""JSON-RPC 2.0 over HTTP (section 9), versions 1.0 and 0.3 on one endpoint.

The a2a-sdk's dispatcher runs the operations; before it stand our own envelope, limits and strict parsing,
and streams go from the log to the socket (`sse.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from a2a.server.context import ServerCallContext
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError, InvalidRequestError, MethodNotFoundError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from parley_core.telemetry import parse_traceparent, span
from parley_runtime.bindings.attention import Attention
from parley_runtime.bindings.authentication import Authentication
from parley_runtime.bindings.compat import JsonRpcCompat
from parley_runtime.bindings.context import HttpContextBuilder, http_context, version_of
from parley_runtime.bindings.decode import decode, parse_json
from parley_runtime.bindings.failures import (
    MediaTypeError,
    PayloadTooLargeError,
    answer_headers,
    http_status,
    jsonrpc_error,
    jsonrpc_status,
    outcome,
)
from parley_runtime.bindings.guard import Batches, Guard, translate
from parley_runtime.bindings.request import (
    ClientGone,
    header,
    read_body,
    respond,
)
from parley_runtime.bindings.sse import EventStreams
from parley_runtime.bindings.versions import V1_0, require
from parley_runtime.metrics import REQUESTS
from parley_runtime.wire import message_json, read_plain_request, task_json

RequestId = str | int | None
_STREAMING = frozenset({"SendStreamingMessage", "SubscribeToTask"})


@dataclass(frozen=True, slots=True)
class _Call:
    id: RequestId
    method: str
    params: Any
    envelope: dict[str, Any]


class _Refused(Exception):
    """A request whose id could be read, but not the rest of it."""

    def __init__(self, request_id: RequestId, why: str) -> None:
        super().__init__(why)
        self.request_id = request_id
        self.error = InvalidRequestError(why)


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    status: int = 200
    headers: Mapping[bytes, bytes] | None = None


class _Framing:
    __slots__ = ("head", "request_id")
    tail = b"}"

    def __init__(self, request_id: RequestId) -> None:
        self.request_id = request_id
        self.head = b'{"jsonrpc":"2.0","id":' + orjson.dumps(request_id) + b',"result":'

    def error(self, error: A2AError) -> bytes:
        return jsonrpc_error(self.request_id, error)


@dataclass(frozen=True, slots=True)
class _Stream:
    batches: Batches
    framing: _Framing


class JsonRpcBinding(JsonRpcDispatcher):
    """The endpoint, an ASGI app."""

    def __init__(
        self,
        guard: Guard,
        streams: EventStreams,
        authenticate: Authentication,
        max_body_bytes: int,
    ) -> None:
        super().__init__(guard, HttpContextBuilder())
        self._guard = guard
        self._streams = streams
        self._authenticate = authenticate
        self._max_body_bytes = max_body_bytes
        self._compat = JsonRpcCompat(guard, HttpContextBuilder())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP call."""
        if not await self._authenticate(scope, send):
            return
        if scope["method"] != "POST":
            error = InvalidRequestError("JSON-RPC is spoken by POST")
            return await respond(send, 405, jsonrpc_error(None, error), headers={b"allow": b"POST"})
        answer = await self._outcome(scope, receive)
        if isinstance(answer, _Answer):
            await respond(send, answer.status, answer.body, headers=answer.headers)
        elif isinstance(answer, _Stream):
            await self._streams.serve(scope, receive, send, answer.batches, answer.framing)
        elif answer is not None:
            await answer(scope, receive, send)

    async def _outcome(self, scope: Scope, receive: Receive) -> _Answer | _Stream | Response | None:
        request_id: RequestId = None
        method = ""
        try:
            body = await read_body(scope, receive, self._max_body_bytes)
            call = _envelope(parse_json(body))
            request_id, method = call.id, call.method
            parent = parse_traceparent(header(scope, b"traceparent").decode("latin-1"))
            with span(f"jsonrpc {method}", parent), Attention(receive):
                return await self._dispatch(scope, call)
        except (PayloadTooLargeError, MediaTypeError) as error:
            return _Answer(jsonrpc_error(None, error), http_status(error))
        except ClientGone:
            return None
        except _Refused as refusal:
            self._count(method, refusal.error)
            return _Answer(jsonrpc_error(refusal.request_id, refusal.error))
        except A2AError as error:
            self._count(method, error)
            return _Answer(jsonrpc_error(request_id, error), jsonrpc_status(error), answer_headers(error))
        except Exception as error:  # noqa: BLE001 - translated, logged, and told to the client without details
            failure = translate(error)
            self._count(method, failure)
            return _Answer(jsonrpc_error(request_id, failure), headers=answer_headers(failure))

    def _count(self, method: str, error: A2AError | None) -> None:
        known = method in self.METHOD_TO_MODEL or self._compat.supports_method(method)
        REQUESTS.labels("jsonrpc", method if known else "unknown", outcome(error)).inc()

    async def _dispatch(self, scope: Scope, call: _Call) -> _Answer | _Stream | Response:
        if self._compat.supports_method(call.method):
            return await self._compat.answer(scope, call.id, call.method, call.envelope)
        kind = self.METHOD_TO_MODEL.get(call.method)
        if kind is None:
            raise MethodNotFoundError(f"There is no method {call.method[:80]!r}")
        context = http_context(scope)
        require(version_of(context), V1_0)
        params: Any = None
        if kind is pb.SendMessageRequest and isinstance(call.params, dict):
            params = read_plain_request(call.params)
        if params is None:
            params = decode(kind, call.params)
        context.tenant = params.tenant
        context.state["method"] = call.method
        context.state["request_id"] = call.id
        if call.method in _STREAMING:
            return await self._open(call, params, context)
        if call.method == "SendMessage":  # these two are the hot path, so their answers are written by hand
            answer = await self._guard.on_message_send(params, context)
            result: Any = (
                {"task": task_json(answer)}
                if isinstance(answer, pb.Task)
                else {"message": message_json(answer)}
            )
        elif call.method == "GetTask":
            result = task_json(await self._guard.on_get_task(params, context))
        else:
            result = await self._process_non_streaming_request(params, context)
        self._count(call.method, None)
        return _Answer(orjson.dumps({"jsonrpc": "2.0", "id": call.id, "result": result}))

    async def _open(self, call: _Call, params: Any, context: ServerCallContext) -> _Stream:
        after = context.state.get("after")
        if isinstance(params, pb.SendMessageRequest):
            batches = await self._guard.send_stream(params, context, after)
        else:
            batches = await self._guard.subscribe_stream(params, context, after)
        self._count(call.method, None)
        return _Stream(batches, _Framing(call.id))


def _envelope(value: Any) -> _Call:
    """The call of a JSON-RPC request object. Raises InvalidRequestError, or _Refused once the id is known."""
    if isinstance(value, list):
        raise InvalidRequestError("Batch requests are not supported; send one request at a time")
    if not isinstance(value, dict):
        raise InvalidRequestError("A JSON-RPC request is an object")
    request_id, method = value.get("id"), value.get("method")
    if "id" not in value:
        raise InvalidRequestError("A2A has no notifications; give the request an id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | None):
        raise InvalidRequestError("The id must be a string, an integer or null")
    if value.get("jsonrpc") != "2.0":
        raise _Refused(request_id, "The member jsonrpc must be exactly '2.0'")
    if not isinstance(method, str) or not method:
        raise _Refused(request_id, "The member method must name an operation")
    return _Call(request_id, method, value.get("params", {}), value)
