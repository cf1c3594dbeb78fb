"""Calls to an agent on behalf of who looks at a page: each with a deadline, a limit to what is read, and a guarded address.

An agent that a host here published (it has a live instance) may be at a private address, as a cluster's are; any other agent,
known by its card alone, only where external cards may be fetched from. Metadata addresses are refused in either case. Nothing
of who is signed in to the registry is sent along: the agent sees an anonymous caller.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from ipaddress import ip_network
from typing import Any

import httpx
from a2a.client import Client, ClientCallContext, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError, A2AClientTimeoutError
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError, TaskNotFoundError, UnsupportedOperationError
from google.protobuf.json_format import ParseDict, ParseError

from parley_core.guardedhttp import ResponseTooLarge, guarded_client
from parley_core.urlguard import Network, UrlGuard, UrlRefused
from parley_registry.pages.interfaces import BINDINGS, CallFailed, Interface, TaskGone

FIRST_SECONDS = 60.0
"""How long an agent may take to say the first word about a message."""
UNARY_SECONDS = 15.0
"""How long it may take to say what a task is like, or to cancel it."""
WATCH_SECONDS = 900.0
"""How long one stream is followed; the page then begins another."""
MAX_ANSWER = 16 * 1024 * 1024
"""Bytes read of one answer or stream."""
_POLL_SECONDS = 1.0
_PRIVATE = tuple(
    ip_network(block)
    for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


class AgentCall:
    """One agent at one of its interfaces. Every call raises CallFailed."""

    def __init__(
        self, card: Mapping[str, Any], interface: Interface, *, published: bool, allow: Sequence[Network]
    ) -> None:
        """`card` as the registry serves it; `published`: a host here announced a live instance of it."""
        self._card = _card_for(card, interface)
        self._url = interface.url
        self._guard = UrlGuard((*allow, *(_PRIVATE if published else ())), option="--allow")

    async def send(self, message: pb.Message) -> pb.StreamResponse:
        """The first that the agent says about a message: a Task, or a Message that is all there will be."""
        request = pb.SendMessageRequest(message=message)
        request.configuration.return_immediately = True
        async with self._client(FIRST_SECONDS) as client:
            answers = client.send_message(request, context=ClientCallContext(timeout=FIRST_SECONDS))
            async with aclosing(_told(answers)) as events:
                async for event in events:
                    return event
        raise CallFailed("The agent ended the call without an answer.")

    async def get(self, task_id: str) -> pb.Task:
        """A task as it is now. Raises TaskGone, too."""
        async with self._client(UNARY_SECONDS) as client:
            return await self._get(client, task_id)

    async def cancel(self, task_id: str) -> None:
        """Ask the agent to cancel a task. Raises TaskGone, too."""
        async with self._client(UNARY_SECONDS) as client:
            request = pb.CancelTaskRequest(id=task_id)
            await client.cancel_task(request, context=ClientCallContext(timeout=UNARY_SECONDS))

    async def follow(self, task_id: str) -> AsyncGenerator[pb.StreamResponse, None]:
        """What a task is like now and what happens to it from then on, by SubscribeToTask, until the agent ends the stream;
        last of all the task as it then is. An agent that cannot stream is asked again and again. Raises TaskGone, too."""
        async with self._client(WATCH_SECONDS) as client:
            if self._card.capabilities.streaming:
                context = ClientCallContext(timeout=WATCH_SECONDS)
                events = client.subscribe(pb.SubscribeToTaskRequest(id=task_id), context=context)
                try:
                    async with aclosing(_told(events)) as answers:
                        async for event in answers:
                            yield event
                except _Ended:
                    pass
                yield pb.StreamResponse(task=await self._get(client, task_id))
                return
            before = None
            while True:
                task = await self._get(client, task_id)
                if task != before:
                    yield pb.StreamResponse(task=task)
                before = task
                await asyncio.sleep(_POLL_SECONDS)

    async def _get(self, client: Client, task_id: str) -> pb.Task:
        request = pb.GetTaskRequest(id=task_id, history_length=20)
        with _sorted():
            return await client.get_task(request, context=ClientCallContext(timeout=UNARY_SECONDS))

    @asynccontextmanager
    async def _client(self, seconds: float) -> AsyncIterator[Client]:
        with _sorted():
            async with (
                asyncio.timeout(seconds + 5.0),
                guarded_client(
                    self._guard,
                    max_body=MAX_ANSWER,
                    seconds=seconds,
                    verify=self._url.startswith("https:"),
                ) as http,
            ):
                config = ClientConfig(httpx_client=http, supported_protocol_bindings=list(BINDINGS))
                yield ClientFactory(config).create(self._card)


class _Ended(CallFailed):
    """There is nothing to subscribe to: the task has ended, or the agent does not do that."""


def _card_for(card: Mapping[str, Any], interface: Interface) -> pb.AgentCard:
    """The card with one interface alone, so that the client has no choice."""
    read = ParseDict({**card, "supportedInterfaces": []}, pb.AgentCard(), ignore_unknown_fields=True)
    read.supported_interfaces.add(
        url=interface.url,
        protocol_binding=interface.binding,
        protocol_version=interface.version,
        tenant=interface.tenant,
    )
    return read


async def _told(answers: AsyncIterator[pb.StreamResponse]) -> AsyncGenerator[pb.StreamResponse, None]:
    with _sorted():
        async for event in answers:
            yield event


@contextmanager
def _sorted() -> Iterator[None]:
    """What the SDK, HTTP and the guard raise, as errors that a page can show."""
    try:
        yield
    except TaskNotFoundError as error:
        raise TaskGone("The agent does not know this task (any more).") from error
    except UnsupportedOperationError as error:
        raise _Ended(f"The agent does not do that: {error.message}") from error
    except (A2AClientTimeoutError, TimeoutError) as error:
        raise CallFailed("The agent did not answer in time.") from error
    except UrlRefused as error:
        raise CallFailed(f"The agent's address is not called from here: {error}.") from error
    except ResponseTooLarge as error:
        raise CallFailed(f"The agent answered with more than {MAX_ANSWER // 2**20} MiB.") from error
    except A2AClientError as error:
        raise CallFailed(_of_http(error)) from error
    except A2AError as error:
        raise CallFailed(f"The agent refused: {error.message[:500]}") from error
    except httpx.HTTPError as error:
        raise CallFailed("The agent cannot be reached.") from error
    except (ParseError, ValueError, KeyError) as error:
        raise CallFailed("The agent answered with something that is not A2A.") from error


def _of_http(error: A2AClientError) -> str:
    cause = error.__cause__
    if isinstance(cause, httpx.HTTPStatusError):
        status = cause.response.status_code
        if status in (401, 403):
            return f"The agent asks for credentials ({status}); pages call agents without any."
        return f"The agent answered {status}."
    if isinstance(cause, httpx.HTTPError):
        return "The agent cannot be reached."
    return f"The agent refused: {error.message[:500]}"
