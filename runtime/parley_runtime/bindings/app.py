"""The HTTP side of a host as one ASGI app: a router that knows the hot paths, Starlette for the rest."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from parley_core.identity import Authenticator
from parley_runtime.bindings.authentication import Authentication
from parley_runtime.bindings.card import JSONRPC_PATH, REST_PATH, card_routes
from parley_runtime.bindings.failures import status_json
from parley_runtime.bindings.guard import Guard
from parley_runtime.bindings.jsonrpc import JsonRpcBinding
from parley_runtime.bindings.rest import RestBinding
from parley_runtime.bindings.sse import EventStreams
from parley_runtime.front import Front

Page = Callable[[Request], Awaitable[Response]]
Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]

_UNDER_REST = REST_PATH + "/"


class App:
    """The ASGI app of a host. `end_streams` is for a host that drains."""

    def __init__(
        self, rpc: JsonRpcBinding, rest: RestBinding, pages: Starlette, streams: EventStreams
    ) -> None:
        self._rpc = rpc
        self._rest = rest
        self._pages = pages
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call; the lifespan goes to the pages."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if path == JSONRPC_PATH:
                return await self._rpc(scope, receive, send)
            if path.startswith(_UNDER_REST):
                return await self._rest(scope, receive, send)
        await self._pages(scope, receive, send)

    @property
    def open_streams(self) -> int:
        """How many event streams are open."""
        return len(self._streams)

    def end_streams(self) -> None:
        """End every event stream now; their clients resume elsewhere with Last-Event-ID."""
        self._streams.end_all()


def build_app(
    front: Front,
    authenticator: Authenticator,
    *,
    max_body_bytes: int = 16 * 1024 * 1024,
    keep_alive: float = 4.0,
    healthz: Page,
    readyz: Page,
    metrics: Page,
    owned: Sequence[Route] = (),
    extra: Sequence[BaseRoute] = (),
    lifespan: Lifespan | None = None,
) -> App:
    """All that a host serves over HTTP.

    `owned` routes need an authenticated caller, found at request.scope["parley.identity"]; `extra` routes
    do not. `keep_alive` is how many seconds an event stream may be silent. Wrap the app in parley_core's
    HostGuard where the host listens on loopback.
    """
    authenticate = Authentication(authenticator)
    guard, streams = Guard(front), EventStreams(keep_alive)
    pages = Starlette(
        routes=[
            *card_routes(front.card),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            *(_owned(route, authenticate) for route in owned),
            *extra,
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error},
    )
    rpc = JsonRpcBinding(guard, streams, authenticate, max_body_bytes)
    rest = RestBinding(guard, streams, authenticate, max_body_bytes, REST_PATH)
    return App(rpc, rest, pages, streams)


def _owned(route: Route, authenticate: Authentication) -> Route:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if await authenticate(scope, send):
            await route.app(scope, receive, send)

    return Route(route.path, _App(endpoint), methods=sorted(route.methods or ()))


class _App:
    """An ASGI app as an object, which Starlette takes for one where it would take a function for an endpoint."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    name = {404: "NOT_FOUND", 405: "UNIMPLEMENTED"}.get(error.status_code, "UNKNOWN")
    body = status_json(error.status_code, name, error.detail)
    return Response(body, error.status_code, error.headers, "application/json")
