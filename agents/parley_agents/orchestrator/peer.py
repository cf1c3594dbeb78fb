"""One agent at the other end of A2A: the calls made to it, with a deadline each and errors sorted by what to do."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import aclosing, contextmanager
from typing import TypeVar

import httpx
from a2a.client import Client, ClientCallContext, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError, A2AClientTimeoutError
from a2a.types import a2a_pb2 as pb
from a2a.utils.constants import TransportProtocol
from a2a.utils.errors import (
    A2AError,
    InternalError,
    PushNotificationNotSupportedError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import ParseError

from parley_agents.orchestrator.circuit import retry_after
from parley_agents.orchestrator.errors import CallFailed, CallRefused, NotLetIn, NotSupported, TaskGone
from parley_core.bearer import Bearer
from parley_core.telemetry import current_trace

T = TypeVar("T")

UNARY = 20.0
"""Seconds for a call that is answered at once."""
SILENCE = 60.0
"""Seconds without a byte after which a stream counts as broken (servers send comments more often)."""
MAX_ANSWER = 256 * 1024 * 1024
"""Bytes read of one answer or stream."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def http_client() -> httpx.AsyncClient:
    """The HTTP client for all calls to agents: bounded answers, no redirects, no proxy to this machine."""
    here = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
    return httpx.AsyncClient(
        timeout=httpx.Timeout(10.0, read=SILENCE),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
        mounts=here,
        event_hooks={"response": [_bound]},
    )


class Peer:
    """Calls to the agent that `card` describes, over a shared HTTP client, with a bearer token where there is one.

    Every call raises CallFailed (may pass), CallRefused (will not), NotSupported or TaskGone.
    """

    def __init__(self, card: pb.AgentCard, http: httpx.AsyncClient, token: Bearer | None = None) -> None:
        """Raises CallRefused when the card offers no binding that we speak (JSON-RPC, HTTP+JSON)."""
        self.card = card
        self._http = http
        self._token = token
        self._client = self._make(streaming=True)
        self._plain = self._make(streaming=False)

    def _make(self, *, streaming: bool) -> Client:
        config = ClientConfig(
            streaming=streaming,
            httpx_client=self._http,
            supported_protocol_bindings=[TransportProtocol.JSONRPC, TransportProtocol.HTTP_JSON],
        )
        try:
            return ClientFactory(config).create(self.card)
        except ValueError as error:
            raise CallRefused(f"{self.card.name} offers neither JSON-RPC nor HTTP+JSON") from error

    @property
    def streams(self) -> bool:
        """Whether the agent says it can stream."""
        return self.card.capabilities.streaming

    @property
    def pushes(self) -> bool:
        """Whether the agent says it can push."""
        return self.card.capabilities.push_notifications

    async def send(self, message: pb.Message, *, seconds: float) -> AsyncGenerator[pb.StreamResponse, None]:
        """Send a message and yield what the agent answers: a stream, or one Task or Message.

        `seconds` bounds the wait of an agent that cannot stream and answers only when it is done.
        """
        request = pb.SendMessageRequest(message=message)
        # An agent without streaming is asked to return at once; one that blocks all the same is waited for.
        request.configuration.return_immediately = not self.streams
        answers = self._client.send_message(request, context=self._context(None if self.streams else seconds))
        async with aclosing(self._guarded(answers)) as events:
            async for event in events:
                yield event

    async def subscribe(self, task_id: str, *, after: int) -> AsyncGenerator[pb.StreamResponse, None]:
        """What happens to a task from now on; from generation `after` on where the agent keeps count (0: it does not)."""
        headers = {"Last-Event-ID": str(after)} if after else {}
        answers = self._client.subscribe(
            pb.SubscribeToTaskRequest(id=task_id), context=self._context(None, headers)
        )
        async with aclosing(self._guarded(answers)) as events:
            async for event in events:
                yield event

    async def get(self, task_id: str) -> pb.Task:
        """The task as it is, without its history."""
        request = pb.GetTaskRequest(id=task_id, history_length=0)
        return await self._call(self._plain.get_task(request, context=self._context(UNARY)))

    async def cancel(self, task_id: str, *, seconds: float = UNARY) -> pb.Task:
        """Ask the agent to cancel the task."""
        request = pb.CancelTaskRequest(id=task_id)
        return await self._call(self._plain.cancel_task(request, context=self._context(seconds)), seconds)

    async def push_to(self, config: pb.TaskPushNotificationConfig) -> None:
        """Have the agent call us when the task changes."""
        context = self._context(UNARY)
        await self._call(self._plain.create_task_push_notification_config(config, context=context))

    def _context(self, seconds: float | None, headers: dict[str, str] | None = None) -> ClientCallContext:
        trace = current_trace.get()
        sent = dict(headers or {}) | ({"traceparent": trace.traceparent} if trace else {})
        if self._token is not None:
            sent["authorization"] = f"Bearer {self._token.text}"
        return ClientCallContext(timeout=seconds, service_parameters=sent)

    async def _call(self, answer: Awaitable[T], seconds: float = UNARY) -> T:
        with self._sorted():
            async with asyncio.timeout(seconds + 1.0):
                return await answer

    async def _guarded(
        self, answers: AsyncIterator[pb.StreamResponse]
    ) -> AsyncGenerator[pb.StreamResponse, None]:
        with self._sorted():
            async for event in answers:
                yield event

    @contextmanager
    def _sorted(self) -> Iterator[None]:
        """Errors of the SDK and of HTTP as ours."""
        name = self.card.name
        try:
            yield
        except TaskNotFoundError as error:
            raise TaskGone(f"{name} does not know the task: {error.message}") from error
        except (UnsupportedOperationError, PushNotificationNotSupportedError) as error:
            raise NotSupported(f"{name}: {error.message}") from error
        except (A2AClientTimeoutError, TimeoutError) as error:
            raise CallFailed(f"{name} did not answer in time") from error
        except InternalError as error:
            raise _of_agent(name, error) from error
        except A2AClientError as error:
            raise _of_http(name, error) from error
        except A2AError as error:
            raise CallRefused(f"{name} refused: {error.message}") from error
        except httpx.HTTPError as error:
            raise CallFailed(f"{name} cannot be reached: {_said(error)}") from error
        except (ParseError, ValueError, KeyError, json.JSONDecodeError) as error:
            raise CallRefused(
                f"{name} answered with something that is not A2A: {str(error)[:200]}"
            ) from error


def _of_agent(name: str, error: InternalError) -> CallFailed:
    """A Parley host says of what it refuses for now when to come again; others have only failed."""
    wait = retry_after(str((error.data or {}).get("retryAfter", "")))
    return CallFailed(f"{name}: {error.message}" if wait else f"{name} had an error: {error.message}", wait)


class TooLong(httpx.TransportError):
    """An answer grew beyond MAX_ANSWER."""


def _of_http(name: str, error: A2AClientError) -> CallFailed | CallRefused:
    cause = error.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        status = cause.response.status_code
        if status in _PASSING:
            wait = retry_after(cause.response.headers.get("retry-after"))
            return CallFailed(f"{name} answered {status}", wait)
        if status in (401, 403):
            return NotLetIn(f"{name} does not let us in ({status}): it asks for credentials we do not have")
        return CallRefused(f"{name} answered {status}")
    if isinstance(cause, TooLong):
        return CallRefused(f"{name} answered more than {MAX_ANSWER // 2**20} MiB")
    if isinstance(cause, httpx.HTTPError):
        return CallFailed(f"{name} cannot be reached: {_said(cause)}")
    return CallRefused(f"{name} refused: {error.message[:500]}")


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


async def _bound(response: httpx.Response) -> None:
    assert isinstance(response.stream, httpx.AsyncByteStream)
    response.stream = _Bounded(response.stream, response.request)


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, request: httpx.Request) -> None:
        self._inner = inner
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_ANSWER
        async for chunk in self._inner:
            left -= len(chunk)
            if left < 0:
                raise TooLong("the answer is too long", request=self._request)
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
