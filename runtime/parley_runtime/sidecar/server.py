"""The A2A server that a sidecar stands before: its card, whether it is there, and calls to it by the a2a-sdk's client."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx
from a2a.client import Client, ClientCallContext, ClientConfig, ClientFactory
from a2a.client.card_resolver import parse_agent_card
from a2a.client.errors import A2AClientError, A2AClientTimeoutError
from a2a.types import a2a_pb2 as pb
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH, TransportProtocol
from a2a.utils.errors import TaskNotFoundError, UnsupportedOperationError
from google.protobuf.json_format import ParseError

from parley_core.errors import ConfigurationError
from parley_core.telemetry import current_trace
from parley_runtime.sidecar.errors import NotOffered, ServerAway, TaskLost

log = logging.getLogger(__name__)

T = TypeVar("T")

_CARDS = (AGENT_CARD_WELL_KNOWN_PATH, "/.well-known/agent.json")
"""Where a card may be; the second is older."""
_LOOK = 1.0
"""Seconds between two looks whether the server is there."""
_UNARY = 20.0
"""Seconds for a call that is answered at once."""
_SILENCE = 60.0
"""Seconds without a byte after which a stream counts as broken; the task is looked at and followed again."""
_PASSING = frozenset({408, 425, 429, 502, 503, 504})


class LocalServer:
    """Calls to the server at `url`. They raise ServerAway, TaskLost, NotOffered, and the errors of the protocol (A2AError) that
    the server itself answers with.

    Its card may name other addresses than the one it is reached at here, those it has for the world: of each interface the
    path counts.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"{url!r} is not the address of a server; write it like http://127.0.0.1:9000"
            )
        self.url = url.rstrip("/")
        self.away = f"the server at {self.url} has not answered yet"
        """Why it cannot be called now; "" while it can."""
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(5.0, read=_SILENCE),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=False,
        )
        self._card: pb.AgentCard | None = None
        self._client: Client | None = None

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    @property
    def streams(self) -> bool:
        """Whether the server says that it can stream."""
        return self._card is not None and self._card.capabilities.streaming

    # -- whether it is there

    async def begin(self, seconds: float) -> pb.AgentCard:
        """The server's card, once it answers. Raises ConfigurationError when it has not in so many seconds, or has a card
        that cannot be used."""
        until, said = time.monotonic() + seconds, False
        while True:
            try:
                return await self._look()
            except ServerAway as error:
                if time.monotonic() >= until:
                    raise ConfigurationError(f"{error}; start it, or see that --forward names it") from error
                if not said:
                    log.info("waiting for the server to forward to: %s", error)
                said = True
            await asyncio.sleep(0.2)

    async def watch(self) -> None:
        """Look whether the server is there, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            before = self.away
            try:
                await self._look()
                if before:
                    log.info("the server at %s answers again", self.url)
            except ConfigurationError as error:
                self._gone(str(error))
            except ServerAway as error:
                self._gone(str(error))

    async def back(self, seconds: float) -> None:
        """Return when the server answers. Raises ServerAway when it has not in so many seconds."""
        until = time.monotonic() + seconds
        while True:
            try:
                await self._look()
                return
            except ServerAway:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(0.2)

    def _gone(self, why: str) -> None:
        if not self.away:
            log.warning("%s; tasks wait until it is back", why)
        self.away = why

    async def _look(self) -> pb.AgentCard:
        card = await self._fetch()
        if card != self._card:
            self._use(card)
        self.away = ""
        return card

    async def _fetch(self) -> pb.AgentCard:
        try:
            for path in _CARDS:
                answer = await self._http.get(self.url + path, timeout=5.0)
                if answer.status_code != 404:
                    break
            answer.raise_for_status()
            return parse_agent_card(answer.json())
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise ServerAway(f"the server at {self.url} answers {status} when asked for its card") from error
        except httpx.HTTPError as error:
            raise ServerAway(
                f"the server at {self.url} cannot be reached ({error or type(error).__name__})"
            ) from error
        except (ParseError, ValueError) as error:
            raise ConfigurationError(
                f"what {self.url} shows as its card is none: {str(error)[:200]}"
            ) from error

    def _use(self, card: pb.AgentCard) -> None:
        if self._card is not None and (card.name, card.version) != (self._card.name, self._card.version):
            log.warning(
                "the server at %s is %s %s now; restart this host to publish it",
                self.url,
                card.name,
                card.version,
            )
        reached = pb.AgentCard()
        reached.CopyFrom(card)
        here = urlsplit(self.url)
        for one in reached.supported_interfaces:
            one.url = urlunsplit(urlsplit(one.url)._replace(scheme=here.scheme, netloc=here.netloc))
        config = ClientConfig(
            httpx_client=self._http,
            supported_protocol_bindings=[TransportProtocol.JSONRPC, TransportProtocol.HTTP_JSON],
        )
        try:
            self._client = ClientFactory(config).create(reached)
        except ValueError as error:
            raise ConfigurationError(
                f"the card of {self.url} offers neither JSON-RPC nor HTTP+JSON, which is what we speak to it"
            ) from error
        self._card = card

    # -- calls

    def send(
        self, request: pb.SendMessageRequest, extensions: tuple[str, ...] = ()
    ) -> AsyncGenerator[pb.StreamResponse, None]:
        """Send a message; what the server answers, as it comes: a stream, or one Task or Message."""
        request.configuration.return_immediately = not self.streams
        return self._guarded(self._calls.send_message(request, context=_context(None, extensions)))

    def subscribe(self, task_id: str) -> AsyncGenerator[pb.StreamResponse, None]:
        """What happens to a task from now on."""
        request = pb.SubscribeToTaskRequest(id=task_id)
        return self._guarded(self._calls.subscribe(request, context=_context(None)))

    async def get(self, task_id: str) -> pb.Task:
        """The task as it is."""
        return await self._call(self._calls.get_task(pb.GetTaskRequest(id=task_id), context=_context(_UNARY)))

    async def cancel(self, task_id: str) -> pb.Task:
        """Have the server cancel the task; the task then."""
        request = pb.CancelTaskRequest(id=task_id)
        return await self._call(self._calls.cancel_task(request, context=_context(_UNARY)))

    @property
    def _calls(self) -> Client:
        if self._client is None:
            raise ServerAway(self.away)
        return self._client

    async def _call(self, answer: Awaitable[T]) -> T:
        with self._sorted():
            async with asyncio.timeout(_UNARY + 1.0):
                return await answer

    async def _guarded(
        self, answers: AsyncIterator[pb.StreamResponse]
    ) -> AsyncGenerator[pb.StreamResponse, None]:
        with self._sorted():
            async for event in answers:
                yield event

    @contextmanager
    def _sorted(self) -> Iterator[None]:
        """Errors of the way as ours; those of the protocol as they are."""
        try:
            yield
        except TaskNotFoundError as error:
            raise TaskLost(f"the server at {self.url} does not know the task") from error
        except (UnsupportedOperationError, NotImplementedError) as error:
            raise NotOffered(f"the server at {self.url} does not offer that: {error}") from error
        except (A2AClientTimeoutError, TimeoutError) as error:
            text = f"the server at {self.url} did not answer in time"
            raise ServerAway(text, refused=_refused(error.__cause__)) from error
        except A2AClientError as error:
            if _passes(error):
                text = f"the server at {self.url} broke off: {error.message[:300]}"
                raise ServerAway(text, refused=_refused(error.__cause__)) from error
            raise
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            text = f"the server at {self.url} broke off: {error or type(error).__name__}"
            raise ServerAway(text, refused=_refused(error)) from error


def _refused(error: BaseException | None) -> bool:
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def _context(seconds: float | None, extensions: tuple[str, ...] = ()) -> ClientCallContext:
    trace = current_trace.get()
    sent = {"traceparent": trace.traceparent} if trace else {}
    if extensions:
        sent["A2A-Extensions"] = ", ".join(extensions)
    return ClientCallContext(timeout=seconds, service_parameters=sent)


def _passes(error: A2AClientError) -> bool:
    cause = error.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        return cause.response.status_code in _PASSING
    return isinstance(cause, httpx.HTTPError | json.JSONDecodeError)
