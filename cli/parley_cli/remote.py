"""An A2A agent as the command sees it: found by name or URL, called with deadlines, its streams taken up again."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import httpx
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.errors import AgentCardResolutionError
from a2a.types import a2a_pb2 as pb

from parley_agents.orchestrator.circuit import pause
from parley_agents.orchestrator.errors import CallFailed, CallRefused, NotSupported
from parley_agents.orchestrator.peer import UNARY, Peer
from parley_cli.access import Access
from parley_cli.story import generation_of
from parley_core.errors import ParleyError
from parley_runtime.store import INTERRUPTED, TERMINAL

LOST_SECONDS = 60.0
"""How long an agent may be out of reach in the middle of a task before we give up on it."""
SENDS = 10
"""Tries at sending a message, about a minute in all."""
SETTLED = TERMINAL | INTERRUPTED

Say = Callable[[str], None]
"""Hears, in a line, why the next answer is some time off."""


def _silent(_: str) -> None: ...


class NoSuchAgent(ParleyError):
    """The agent that was named cannot be found."""


def is_url(agent: str) -> bool:
    """Whether an agent is named by its address rather than by its name in the registry."""
    return agent.startswith(("http://", "https://"))


async def find(agent: str, registry: str, access: Access, http: httpx.AsyncClient) -> "Remote":
    """The agent of that URL or of that name in the registry (`name` or `name@version`), called over `http`.

    Raises NoSuchAgent, CallFailed, or the registry client's errors.
    """
    if is_url(agent):
        return Remote(await _card(agent, http), http)
    if not registry:
        raise NoSuchAgent(
            f"there is no registry to look {agent!r} up in: `parley up` starts one, or give a URL"
        )
    name, _, version = agent.partition("@")
    async with access.registry(registry) as found:
        entry = await found.get(name, version or None)
    if entry.health == "down":
        raise NoSuchAgent(
            f"{agent} is registered but none of its instances is up; see `parley agents show {name}`"
        )
    return Remote(entry.card, http)


async def _card(url: str, http: httpx.AsyncClient) -> pb.AgentCard:
    base, _, path = url.partition("/.well-known/")
    try:
        return await A2ACardResolver(http, base.rstrip("/")).get_agent_card(
            relative_card_path=f"/.well-known/{path}" if path else None
        )
    except AgentCardResolutionError as error:
        raise NoSuchAgent(f"no agent card at {url}: {error.message}") from error


class Remote(Peer):
    """A `Peer` whose streams survive broken connections, and with what only a command asks for."""

    @property
    def url(self) -> str:
        """Where its first interface is."""
        return self.card.supported_interfaces[0].url if self.card.supported_interfaces else ""

    @property
    def base(self) -> str:
        """The address of the Parley host that this agent is on, if it is one; else a guess."""
        parts = httpx.URL(self.url)
        return f"{parts.scheme}://{parts.netloc.decode()}"

    async def converse(
        self, message: pb.Message, *, seconds: float, say: Say = _silent
    ) -> AsyncGenerator[pb.StreamResponse, None]:
        """Send a message and yield what comes until its task settles, over lost connections too.

        A message whose sending failed is sent again under the same id, which a Parley host takes once.
        """
        tries = _Tries(say)
        while True:
            seen, heard = _Seen(), False
            try:
                async with aclosing(self.send(message, seconds=seconds)) as answers:
                    async for event in answers:
                        heard = True
                        seen.note(event)
                        yield event
                        if event.HasField("message") or (seen.settled and not event.HasField("task")):
                            return
                break
            except CallFailed as error:
                if heard:
                    break  # it has the message: go on from what we saw
                await tries.failed(error)
        if seen.task_id and not seen.settled:
            async with aclosing(self.follow(seen.task_id, after=seen.generation, say=say)) as rest:
                async for event in rest:
                    yield event

    async def follow(
        self, task_id: str, *, after: int = 0, say: Say = _silent
    ) -> AsyncGenerator[pb.StreamResponse, None]:
        """What happened to a task after generation `after` (0: all of it, where the agent keeps count) and what
        goes on to happen, until it settles.

        Raises TaskGone; CallFailed when the agent is out of reach for LOST_SECONDS.
        """
        seen = _Seen(task_id, after)
        reached, can_stream, lost = time.monotonic(), self.streams, False
        while True:
            try:
                if can_stream:
                    async with aclosing(self._events(task_id, seen.generation)) as events:
                        async for event in events:
                            reached, lost = time.monotonic(), False
                            seen.note(event)
                            yield event
                else:
                    latest = await self.get(task_id)
                    reached, lost = time.monotonic(), False
                    if latest.status != seen.status:
                        seen.note(pb.StreamResponse(task=latest))
                        yield pb.StreamResponse(task=latest)
            except NotSupported:
                can_stream = False  # it has ended, or cannot stream: look at it instead
                continue
            except CallFailed as error:
                if time.monotonic() - reached > LOST_SECONDS:
                    raise
                if not lost:
                    say(f"{_first_clause(error)}; trying to go on for {LOST_SECONDS:.0f} s…")
                lost = True
            if seen.settled:
                return
            await asyncio.sleep(0.5)

    async def _events(self, task_id: str, after: int) -> AsyncGenerator[pb.StreamResponse, None]:
        """SubscribeToTask that also replays: a Parley host sends all after the Last-Event-ID, ended or not."""
        request = pb.SubscribeToTaskRequest(id=task_id)
        answers = self._client.subscribe(request, context=self._context(None, {"Last-Event-ID": str(after)}))
        async with aclosing(self._guarded(answers)) as events:
            async for event in events:
                yield event

    async def tasks(self, *, context: str = "", size: int = 20, token: str = "") -> pb.ListTasksResponse:
        """A page of the agent's tasks, latest first."""
        request = pb.ListTasksRequest(context_id=context, page_size=size, page_token=token, history_length=0)
        return await self._call(self._plain.list_tasks(request, context=self._context(UNARY)))

    async def start(self, message: pb.Message, *, say: Say = _silent) -> pb.Task | pb.Message:
        """Send a message and return as soon as there is a task (or a plain answer), leaving the task to run."""
        request = pb.SendMessageRequest(message=message)
        request.configuration.return_immediately = True
        request.configuration.history_length = 0
        tries = _Tries(say)
        while True:
            try:
                answers = self._plain.send_message(request, context=self._context(UNARY))
                async with aclosing(self._guarded(answers)) as events:
                    async for event in events:
                        return event.task if event.HasField("task") else event.message
                raise CallRefused(f"{self.card.name} answered nothing")
            except CallFailed as error:
                await tries.failed(error)


class _Tries:
    """Tries at sending one message."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._failed = 0

    async def failed(self, error: CallFailed) -> None:
        """Say so and wait until it is time for the next; raises the error when it was the last."""
        self._failed += 1
        if self._failed == SENDS:
            raise error
        wait = pause(self._failed, error.retry_after)
        when = f"{wait:.1f}".removesuffix(".0")
        self._say(f"{_first_clause(error)}; trying again in {when} s ({self._failed + 1} of {SENDS})…")
        await asyncio.sleep(wait)


def _first_clause(error: CallFailed) -> str:
    """What happened, without what to do about it."""
    return str(error).partition(";")[0]


class _Seen:
    """How far a task has been seen."""

    def __init__(self, task_id: str = "", generation: int = 0) -> None:
        self.task_id = task_id
        self.generation = generation
        self.status = pb.TaskStatus()
        self.settled = False

    def note(self, event: pb.StreamResponse) -> None:
        """Keep what an event says of the task."""
        kind = event.WhichOneof("payload")
        self.generation = max(self.generation, generation_of(event))
        if kind == "task":
            self.task_id, status = event.task.id, event.task.status
        elif kind == "status_update":
            self.task_id, status = event.status_update.task_id, event.status_update.status
        else:
            self.task_id = event.artifact_update.task_id or self.task_id
            return
        self.status.CopyFrom(status)
        self.settled = status.state in SETTLED
