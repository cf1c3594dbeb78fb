"""gRPC (section 10): the a2a-sdk's servicers of 1.0 and 0.3 on one server.

An interceptor before both authenticates, opens the call's span, counts, and words every error that is not
the protocol's own as INTERNAL with ErrorInfo. A stream is resumed by the metadata entry `last-event-id`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from a2a.compat.v0_3.a2a_v0_3_pb2_grpc import add_A2AServiceServicer_to_server as add_compat
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.types.a2a_pb2_grpc import add_A2AServiceServicer_to_server as add_current
from a2a.utils.error_handlers import BAD_REQUEST_TYPE, ERROR_INFO_TYPE
from a2a.utils.errors import A2AError
from google.protobuf import any_pb2
from google.protobuf.json_format import MessageToDict, ParseDict, SerializeToJsonError
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from parley_core.errors import ConfigurationError
from parley_core.identity import Authenticator, Unauthenticated
from parley_core.telemetry import parse_traceparent, span
from parley_runtime.bindings.context import (
    GrpcContextBuilder,
    grpc_caller,
    text_metadata,
    version_of,
)
from parley_runtime.bindings.decode import invalid
from parley_runtime.bindings.failures import RETRY_INFO_TYPE, TryAgainError, details, mapping, outcome
from parley_runtime.bindings.guard import Guard, translate
from parley_runtime.bindings.versions import V0_3, V1_0, require
from parley_runtime.front import Front
from parley_runtime.metrics import REQUESTS

_STATUS_DETAILS = "grpc-status-details-bin"
_CURRENT_SERVICE = "/lf.a2a.v1."
_DETAILS: dict[str, type[Message]] = {
    ERROR_INFO_TYPE: error_details_pb2.ErrorInfo,
    BAD_REQUEST_TYPE: error_details_pb2.BadRequest,
    RETRY_INFO_TYPE: error_details_pb2.RetryInfo,
}
_failure: ContextVar[A2AError | None] = ContextVar("parley_grpc_failure", default=None)


@dataclass(frozen=True, slots=True)
class GrpcServer:
    """A running gRPC server and the port it listens on."""

    server: grpc.aio.Server
    port: int
    streams: "_Streams"

    def end_streams(self) -> None:
        """End every stream now with UNAVAILABLE; clients resume elsewhere with `last-event-id`."""
        self.streams.end_all()

    async def stop(self, grace: float) -> None:
        """Take no new calls, let running ones go on for `grace` seconds, then end them."""
        await self.server.stop(grace)


async def start_grpc(
    front: Front,
    authenticator: Authenticator,
    listen: str,
    *,
    max_message_bytes: int = 16 * 1024 * 1024,
    credentials: grpc.ServerCredentials | None = None,
) -> GrpcServer:
    """Serve `front` on `listen` (host:port; port 0 takes a free one). Raises ConfigurationError when the
    address cannot be had."""
    streams = _Streams()
    server = grpc.aio.server(
        interceptors=[_Door(authenticator, streams)],
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    guard = Guard(front)
    add_current(_Handler(guard, GrpcContextBuilder()), server)
    add_compat(_CompatHandler(guard, _CompatContextBuilder()), server)
    try:
        if credentials is None:
            port = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise ConfigurationError(f"gRPC cannot listen on {listen}: {error}; choose another --grpc") from None
    await server.start()
    return GrpcServer(server, port, streams)


class _Handler(GrpcHandler):
    def _build_call_context(self, context: grpc.aio.ServicerContext, request: Message) -> ServerCallContext:
        call = super()._build_call_context(context, request)
        require(version_of(call), V1_0)
        try:
            MessageToDict(request)
        except (SerializeToJsonError, ValueError, RecursionError):
            raise invalid("The request holds a value that JSON cannot (NaN, infinity)") from None
        return call

    async def abort_context(self, error: A2AError, context: grpc.aio.ServicerContext) -> None:
        await _abort(error, context)


class _CompatContextBuilder(GrpcContextBuilder):
    def build(self, context: grpc.aio.ServicerContext) -> ServerCallContext:
        call = super().build(context)
        require(version_of(call), V0_3)
        return call


class _CompatHandler(CompatGrpcHandler):
    async def abort_context(self, error: A2AError, context: grpc.aio.ServicerContext) -> None:
        await _abort(error, context)


class _Streams:
    """The open streams, each by the task that writes it."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[Any]] = set()
        self._writing: set[asyncio.Task[Any]] = set()

    async def write(self, items: AsyncGenerator[Any, None], context: grpc.aio.ServicerContext) -> None:
        """Write the items to a call, to their end. Raises TryAgainError when `end_all` ends them.

        Not as a generator: gRPC drops one without closing it, whose end then comes anywhere and at any time.
        """
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            async with aclosing(items):
                async for item in items:
                    self._writing.add(task)
                    await context.write(item)
                    self._writing.discard(task)
                    if task not in self._open:
                        raise _moving_on()
        except asyncio.CancelledError:
            if task in self._open or task.uncancel():
                raise
            raise _moving_on() from None
        finally:
            self._open.discard(task)
            self._writing.discard(task)

    def end_all(self) -> None:
        ending, self._open = self._open, set()
        for task in (
            ending - self._writing
        ):  # a message that is half sent leaves no room for the call's status
            task.cancel()


def _moving_on() -> TryAgainError:
    return TryAgainError("The host is stopping; go on with last-event-id")


class _Door(grpc.aio.ServerInterceptor):
    def __init__(self, authenticator: Authenticator, streams: _Streams) -> None:
        self._authenticator = authenticator
        self._streams = streams

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method: str = handler_call_details.method
        name = method.rpartition("/")[2]
        if not method.startswith(_CURRENT_SERVICE):
            name = f"v0.3 {name}"
        read = _lenient(handler.request_deserializer)
        if handler.response_streaming:
            streaming = handler.unary_stream

            async def stream(request: Any, context: grpc.aio.ServicerContext) -> None:
                async with self._call(name, request, context):
                    await self._streams.write(streaming(request, context), context)

            return grpc.unary_stream_rpc_method_handler(stream, read, handler.response_serializer)
        answering = handler.unary_unary

        async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
            async with self._call(name, request, context):
                return await answering(request, context)

        return grpc.unary_unary_rpc_method_handler(unary, read, handler.response_serializer)

    @asynccontextmanager
    async def _call(self, name: str, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        """One call from authentication to its end; whatever leaves the block has aborted it."""
        _failure.set(None)
        metadata = dict(text_metadata(context.invocation_metadata()))
        try:
            if isinstance(request, _Malformed):
                raise invalid("The request is not a message of this operation")
            identity = await self._authenticator.authenticate(metadata)
            grpc_caller.set(identity.owner)
            with span(f"grpc {name}", parse_traceparent(metadata.get("traceparent"))):
                yield
        except Unauthenticated as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - translated, logged, and told to the client without details
            await _abort(translate(error), context)
        finally:
            REQUESTS.labels("grpc", name, outcome(_failure.get())).inc()


class _Malformed:
    """Stands for a request whose bytes are not the operation's message, so that the answer can say so."""


def _lenient(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Malformed()

    return read


async def _abort(error: A2AError, context: grpc.aio.ServicerContext) -> None:
    """End the call with the error's status, ErrorInfo and BadRequest (section 10.6)."""
    _failure.set(error)
    code = grpc.StatusCode[mapping(error).grpc_status]
    status = status_pb2.Status(code=code.value[0], message=error.message)
    for detail in details(error):
        packed = any_pb2.Any()
        packed.Pack(ParseDict({k: v for k, v in detail.items() if k != "@type"}, _DETAILS[detail["@type"]]()))
        status.details.append(packed)
    context.set_trailing_metadata(((_STATUS_DETAILS, status.SerializeToString()),))
    await context.abort(code, error.message)
