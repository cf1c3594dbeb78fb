"""The SDK's ServerCallContext of a call: who calls, in which version, with which extensions."""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import parse_qs

import grpc.aio
from a2a.auth.user import User
from a2a.extensions.common import HTTP_EXTENSION_HEADER, get_requested_extensions
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.grpc_handler import GrpcServerCallContextBuilder
from a2a.server.routes import ServerCallContextBuilder
from a2a.utils.constants import VERSION_HEADER
from starlette.requests import Request
from starlette.types import Scope

from parley_runtime.bindings.guard import last_event_id
from parley_runtime.bindings.versions import negotiate

_VERSION = VERSION_HEADER.lower()
_EXTENSIONS = HTTP_EXTENSION_HEADER.lower()
_LAST_EVENT = "last-event-id"

LOCAL = "local"
"""The owner of everything on loopback, where nobody has to say who they are."""


@dataclass(frozen=True, slots=True)
class Caller(User):
    """The owner of what a call makes, as the SDK's User."""

    owner: str

    @property
    def is_authenticated(self) -> bool:
        return self.owner != LOCAL

    @property
    def user_name(self) -> str:
        return self.owner


def build_context(
    pairs: Sequence[tuple[str, str]], owner: str, version_parameter: str = ""
) -> ServerCallContext:
    """The context of a call with these service parameters (lower-case names, section 3.2.6).

    Its state holds "headers" (the version in them is the negotiated one) and, when the client resumes a
    stream, "after". Raises VersionNotSupportedError and InvalidParamsError.
    """
    headers = dict(pairs)
    headers[_VERSION] = negotiate(headers.get(_VERSION) or version_parameter)
    state: dict[str, object] = {"headers": headers}
    after = last_event_id(headers.get(_LAST_EVENT))
    if after is not None:
        state["after"] = after
    wanted = get_requested_extensions([value for name, value in pairs if name == _EXTENSIONS])
    return ServerCallContext(user=Caller(owner), state=state, requested_extensions=wanted)


def http_context(scope: Scope) -> ServerCallContext:
    """The context of an HTTP call that `Authentication` let through."""
    owner = scope["parley.identity"].owner
    return build_context(scope["parley.headers"], owner, _version_parameter(scope))


def version_of(context: ServerCallContext) -> str:
    """The negotiated protocol version of a call."""
    version: str = context.state["headers"][_VERSION]
    return version


def _version_parameter(scope: Scope) -> str:
    query: bytes = scope.get("query_string", b"")
    if b"ersion" not in query and b"ERSION" not in query:
        return ""
    parameters = parse_qs(query.decode("latin-1"))
    return next((values[-1] for name, values in parameters.items() if name.lower() == _VERSION), "")


class HttpContextBuilder(ServerCallContextBuilder):
    """`http_context` for the SDK's own dispatchers."""

    def build(self, request: Request) -> ServerCallContext:
        return http_context(request.scope)


grpc_caller: ContextVar[str] = ContextVar("parley_grpc_caller")
"""The owner that the gRPC server's interceptor authenticated for the running call."""


class GrpcContextBuilder(GrpcServerCallContextBuilder):
    """The same for the SDK's gRPC handlers, from invocation metadata."""

    def build(self, context: grpc.aio.ServicerContext) -> ServerCallContext:
        call = build_context(text_metadata(context.invocation_metadata()), grpc_caller.get())
        call.state["grpc_context"] = context
        return call


def text_metadata(metadata: Iterable[tuple[str, str | bytes]] | None) -> list[tuple[str, str]]:
    """Metadata as text with lower-case names; binary entries are left out."""
    return [(name.lower(), value) for name, value in metadata or () if isinstance(value, str)]
