"""HTTP+JSON (section 11), versions 1.0 and 0.3 under one prefix; the version says which of the two a path is of.

The a2a-sdk's dispatcher runs the operations; before it stand limits and strict parsing, and streams go from
the log to the socket (`sse.py`).
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from a2a.server.context import ServerCallContext
from a2a.server.routes.rest_dispatcher import A2AJSONResponse, RestDispatcher
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError, TaskNotFoundError
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from parley_core.telemetry import parse_traceparent, span
from parley_runtime.bindings.attention import Attention
from parley_runtime.bindings.authentication import Authentication
from parley_runtime.bindings.compat import RestCompat
from parley_runtime.bindings.context import HttpContextBuilder, http_context, version_of
from parley_runtime.bindings.decode import decode, decode_query, parse_json
from parley_runtime.bindings.failures import (
    answer_headers,
    http_status,
    outcome,
    rest_error,
    status_json,
)
from parley_runtime.bindings.guard import Batches, Guard, translate
from parley_runtime.bindings.request import (
    A2A_JSON,
    ClientGone,
    header,
    read_body,
    respond,
)
from parley_runtime.bindings.sse import EventStreams
from parley_runtime.bindings.versions import V0_3, V1_0, require
from parley_runtime.metrics import REQUESTS

Endpoint = Callable[[Request], Awaitable[Response]]


class _Framing:
    head = b""
    tail = b""

    def error(self, error: A2AError) -> bytes:
        return rest_error(error)


_FRAMING = _Framing()


@dataclass(frozen=True, slots=True)
class _Route:
    operation: str
    method: str
    pattern: re.Pattern[str]
    kind: type[Message] | None
    endpoint: Endpoint | None = None
    """None: a stream, which we serve ourselves."""


@dataclass(frozen=True, slots=True)
class _Match:
    route: _Route
    path: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    code: str
    message: str
    allow: bytes = b""


class RestBinding(RestDispatcher):
    """All paths under `prefix`, an ASGI app."""

    def __init__(
        self,
        guard: Guard,
        streams: EventStreams,
        authenticate: Authentication,
        max_body_bytes: int,
        prefix: str,
    ) -> None:
        super().__init__(guard, HttpContextBuilder())
        self._guard = guard
        self._streams = streams
        self._authenticate = authenticate
        self._max_body_bytes = max_body_bytes
        self._prefix = prefix
        self._routes = self._current_routes()
        self._compat_routes = _compat_routes(RestCompat(guard, HttpContextBuilder()))

    def _current_routes(self) -> list[_Route]:
        sdk, configs = RestDispatcher, "/tasks/{id}/pushNotificationConfigs"
        cancel = RestBinding.on_cancel_task
        table: list[tuple[str, str, type[Message] | None, Callable[..., Any] | None]] = [
            ("SendMessage", "POST /message:send", pb.SendMessageRequest, sdk.on_message_send),
            ("SendStreamingMessage", "POST /message:stream", pb.SendMessageRequest, None),
            ("CancelTask", "POST /tasks/{id}:cancel", pb.CancelTaskRequest, cancel),
            ("SubscribeToTask", "POST /tasks/{id}:subscribe", pb.SubscribeToTaskRequest, None),
            ("SubscribeToTask", "GET /tasks/{id}:subscribe", pb.SubscribeToTaskRequest, None),
            ("ListTasks", "GET /tasks", pb.ListTasksRequest, sdk.list_tasks),
            ("GetTask", "GET /tasks/{id}", pb.GetTaskRequest, sdk.on_get_task),
            (
                "CreateTaskPushNotificationConfig",
                f"POST {configs}",
                pb.TaskPushNotificationConfig,
                sdk.set_push_notification,
            ),
            (
                "ListTaskPushNotificationConfigs",
                f"GET {configs}",
                pb.ListTaskPushNotificationConfigsRequest,
                sdk.list_push_notifications,
            ),
            ("GetTaskPushNotificationConfig", f"GET {configs}/{{push_id}}", None, sdk.get_push_notification),
            (
                "DeleteTaskPushNotificationConfig",
                f"DELETE {configs}/{{push_id}}",
                None,
                sdk.delete_push_notification,
            ),
            ("GetExtendedAgentCard", "GET /extendedAgentCard", None, RestBinding.on_extended_card),
        ]
        routes = []
        for tenant in (False, True):
            for name, call, kind, endpoint in table:
                method, _, path = call.partition(" ")
                bare = self._bare(endpoint) if endpoint else None
                routes.append(_Route(name, method, _pattern(path, tenant), kind, bare))
        return routes

    def _bare(self, endpoint: Callable[..., Any]) -> Endpoint:
        """An endpoint of the SDK's without its error handler, which words errors its own way and logs every
        mistake of a client as a warning."""
        return partial(inspect.unwrap(endpoint), self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP call."""
        if not await self._authenticate(scope, send):
            return
        name = "unknown"
        try:
            found = self._match(scope)
            if isinstance(found, _Refusal):
                headers = {b"allow": found.allow} if found.allow else None
                body = status_json(found.status, found.code, found.message)
                return await respond(send, found.status, body, A2A_JSON, headers)
            name = found.route.operation
            parent = parse_traceparent(header(scope, b"traceparent").decode("latin-1"))
            with span(f"rest {name}", parent):
                answer = await self._answer(scope, receive, found)
            REQUESTS.labels("rest", name, outcome(None)).inc()
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - translated, logged, and told to the client without details
            failure = translate(error)
            REQUESTS.labels("rest", name, outcome(failure)).inc()
            headers = answer_headers(failure)
            return await respond(send, http_status(failure), rest_error(failure), A2A_JSON, headers)
        if isinstance(answer, Response):
            return await answer(scope, receive, send)
        await self._streams.serve(scope, receive, send, answer, _FRAMING)

    def _match(self, scope: Scope) -> _Match | _Refusal:
        path = scope["path"][len(self._prefix) :]
        context = http_context(scope)
        current = version_of(context) == V1_0
        allowed: set[str] = set()
        for route in self._routes if current else self._compat_routes:
            match = route.pattern.fullmatch(path)
            if match and route.method == scope["method"]:
                return _Match(route, match.groupdict())
            if match:
                allowed.add(route.method)
            elif allowed:
                break
        if allowed:
            methods = ", ".join(sorted(allowed))
            message = f"This path takes {methods}, not {scope['method']}"
            return _Refusal(405, "UNIMPLEMENTED", message, methods.encode())
        if not current and any(route.pattern.fullmatch(path) for route in self._routes):
            require(V0_3, V1_0)
        return _Refusal(404, "NOT_FOUND", f"There is no operation at {path[:200]}")

    async def _answer(self, scope: Scope, receive: Receive, found: _Match) -> Response | Batches:
        route = found.route
        scope["path_params"] = found.path
        has_body = scope["method"] == "POST"
        body = await read_body(scope, receive, self._max_body_bytes, json=has_body)
        params = self._params(scope, route.kind, body if has_body else None)
        request = Request(scope)
        request._body = body
        scope["parley.params"] = params
        with Attention(receive):
            if route.endpoint is None:
                return await self._open(params, request)
            return await route.endpoint(request)

    def _params(self, scope: Scope, kind: type[Message] | None, body: bytes | None) -> Any:
        if kind is None:
            return None
        if body is None:
            params: Any = decode_query(kind, parse_qs(scope["query_string"].decode("latin-1"), True))
        else:
            optional = kind in (pb.CancelTaskRequest, pb.SubscribeToTaskRequest)
            params = decode(kind, parse_json(body) if body or not optional else {})
        path = scope["path_params"]
        if "id" in path and hasattr(params, "id") and not isinstance(params, pb.TaskPushNotificationConfig):
            params.id = path["id"]
        if path.get("tenant") and hasattr(params, "tenant"):
            params.tenant = path["tenant"]
        elif getattr(params, "tenant", ""):
            path["tenant"] = params.tenant
        return params

    async def _open(self, params: Any, request: Request) -> Batches:
        context = self._build_call_context(request)
        after = context.state.get("after")
        if isinstance(params, pb.SendMessageRequest):
            return await self._guard.send_stream(params, context, after)
        return await self._guard.subscribe_stream(params, context, after)

    def _build_call_context(self, request: Request) -> ServerCallContext:
        context = super()._build_call_context(request)
        context.tenant = request.path_params.get("tenant") or ""
        return context

    async def on_cancel_task(self, request: Request) -> Response:
        """CancelTask with the request's metadata, which the SDK's own endpoint leaves behind."""
        params = request.scope["parley.params"]

        async def cancel(context: ServerCallContext) -> pb.Task:
            task = await self._guard.on_cancel_task(params, context)
            if task is None:
                raise TaskNotFoundError
            return task

        return A2AJSONResponse(MessageToDict(await self._handle_non_streaming(request, cancel)))

    async def on_extended_card(self, request: Request) -> Response:
        """GetExtendedAgentCard, kept by nobody but the one who asked (section 13.3)."""
        card = await self._guard.on_get_extended_agent_card(
            pb.GetExtendedAgentCardRequest(), self._build_call_context(request)
        )
        return A2AJSONResponse(MessageToDict(card), headers={"cache-control": "private, max-age=60"})


def _pattern(template: str, tenant: bool = False) -> re.Pattern[str]:
    path = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
    return re.compile((r"/(?P<tenant>[^/]+)" if tenant else "") + path)


def _compat_routes(adapter: RestCompat) -> list[_Route]:
    routes = []
    for (template, method), endpoint in adapter.routes().items():
        name = "v0.3 " + template.rpartition("/")[2].replace("{id}", "task").replace("{push_id}", "config")
        kind = adapter.BODIES.get((template, method))
        routes.append(_Route(name, method, _pattern(template), kind, endpoint))
    return routes
