"""Following one child task to its end or its next question: stream, else resume, else push with polling behind."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass

from a2a.server.tasks.task_manager import append_artifact_to_task
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidAgentResponseError

from parley_agents.orchestrator.circuit import pause
from parley_agents.orchestrator.errors import CallFailed, CallRefused, NotSupported
from parley_agents.orchestrator.inbox import Inbox
from parley_agents.orchestrator.peer import Peer
from parley_runtime.store import INTERRUPTED, TERMINAL
from parley_runtime.task import GENERATION

Answers = AsyncGenerator[pb.StreamResponse, None]

_MAX_BREAKS = 3
"""Streams in a row that bring nothing before we stop asking for one."""


@dataclass(frozen=True, slots=True)
class StatusNews:
    state: int
    text: str


@dataclass(frozen=True, slots=True)
class ArtifactNews:
    artifact: pb.Artifact
    append: bool
    last: bool


News = StatusNews | ArtifactNews
Listener = Callable[[News], Awaitable[None]]


class View:
    """A child's task as far as we have seen it. `answered` is the mark of a question that we have answered: the
    child may go on showing it for a moment."""

    def __init__(self, task_id: str = "", answered: str = "") -> None:
        self.task = pb.Task(id=task_id)
        self.reply: pb.Message | None = None
        self.generation = 0
        self._answered = answered

    @property
    def settled(self) -> bool:
        """Whether the child has ended, or waits for somebody else."""
        state = self.task.status.state
        if state in INTERRUPTED:
            return mark(self.task) != self._answered
        return self.reply is not None or state in TERMINAL

    def take(self, event: pb.StreamResponse) -> list[News]:
        """Fold in what the child said; what of it is new. Raises CallFailed when something before it was missed."""
        kind = event.WhichOneof("payload")
        if kind == "task":
            return self.see(event.task)
        if kind == "status_update":
            self._ids(event.status_update.task_id, event.status_update.context_id)
            self._count(event.status_update.metadata)
            return self._status(event.status_update.status)
        if kind == "artifact_update":
            self._ids(event.artifact_update.task_id, event.artifact_update.context_id)
            self._count(event.artifact_update.metadata)
            return self._artifact(event.artifact_update)
        if kind == "message":
            self.reply = event.message
        return []

    def see(self, task: pb.Task) -> list[News]:
        """Take over a whole task; what of it we had not seen."""
        news: list[News] = []
        self._ids(task.id, task.context_id)
        self._count(task.metadata)
        known = {one.artifact_id: one for one in self.task.artifacts}
        for artifact in task.artifacts:
            if artifact != known.get(artifact.artifact_id):
                news.append(ArtifactNews(artifact, append=False, last=True))
        del self.task.artifacts[:]
        self.task.artifacts.extend(task.artifacts)
        return [*news, *self._status(task.status)]

    def _ids(self, task_id: str, context_id: str) -> None:
        self.task.id = self.task.id or task_id
        self.task.context_id = self.task.context_id or context_id

    def _count(self, metadata: object) -> None:
        with suppress(KeyError, ValueError, TypeError):
            self.generation = max(self.generation, int(metadata[GENERATION]))  # type: ignore[index]

    def _status(self, status: pb.TaskStatus) -> list[News]:
        if status == self.task.status:
            return []
        self.task.status.CopyFrom(status)
        return [StatusNews(status.state, words(status.message))]

    def _artifact(self, event: pb.TaskArtifactUpdateEvent) -> list[News]:
        try:
            append_artifact_to_task(self.task, event)
        except InvalidAgentResponseError as error:
            raise CallFailed("a piece of an artifact came without its beginning") from error
        return [ArtifactNews(event.artifact, event.append, event.last_chunk)]


def words(message: pb.Message) -> str:
    """The text parts of a message."""
    return "\n".join(part.text for part in message.parts if part.WhichOneof("content") == "text").strip()


def mark(task: pb.Task) -> str:
    """What tells one status of a task from another."""
    status = task.status
    at = status.timestamp
    return f"{status.state}/{at.seconds}.{at.nanos}/{status.message.message_id}/{words(status.message)[:200]}"


class Follower:
    """Follows one child task. `lost`: seconds out of reach before we give up; `longest`: between two polls."""

    def __init__(
        self, peer: Peer, view: View, listener: Listener, inbox: Inbox, *, lost: float, longest: float
    ) -> None:
        self._peer = peer
        self._view = view
        self._listener = listener
        self._inbox = inbox
        self._lost = lost
        self._longest = longest
        self._reached = time.monotonic()
        self._breaks = 0

    async def run(self, source: Answers | None = None) -> pb.Task:
        """The task when it has settled; `source` is a stream that is already open.

        Raises CallFailed when the agent stays out of reach, CallRefused when it no longer knows the task.
        """
        whole = source is not None
        while not self._view.settled:
            if source is None and not (self._peer.streams and self._breaks < _MAX_BREAKS):
                return await self._poll()
            source = source or self._peer.subscribe(self._view.task.id, after=self._view.generation)
            whole = await self._read(source) and whole
            source = None
        # After a break pieces may be missing of what we saw: the agent's own view is the complete one.
        return self._view.task if whole or self._view.reply else await self._complete()

    async def _read(self, source: Answers) -> bool:
        """Take a stream to its end; True when the child settled, False when the stream broke before."""
        try:
            async with aclosing(source) as events:
                async for event in events:
                    self._reached = time.monotonic()
                    self._breaks = 0
                    await self._tell(self._view.take(event))
                    if self._view.settled:
                        return True
        except NotSupported:
            self._breaks = _MAX_BREAKS
        except CallFailed:
            pass  # the task goes on without the stream: see whether the agent is there, then ask for another
        # One that keeps count tells what we missed when we come back; of any other we see only how it is now.
        resumes = self._view.generation > 0 and self._breaks < _MAX_BREAKS
        if await (self._there() if resumes else self._look()) is not None:
            self._breaks += 1
            if not self._view.settled and self._breaks > 1:
                await asyncio.sleep(pause(self._breaks))
        return False

    async def _poll(self) -> pb.Task:
        wait = min(0.3, self._longest)
        with ExitStack() as stack:
            bell = asyncio.Event()
            if self._inbox.url and self._peer.pushes:
                bell, config = stack.enter_context(self._inbox.bell(self._view.task.id))
                with suppress(CallRefused, CallFailed):  # polling alone will do
                    await self._peer.push_to(config)
                    wait = self._longest  # it will ring; polling is the safety net
            await self._look()
            while not self._view.settled:
                with suppress(TimeoutError):
                    await asyncio.wait_for(bell.wait(), wait)
                bell.clear()
                news = await self._look()
                wait = min(0.3 if news and wait < self._longest else wait * 1.5, self._longest)
        return self._view.task

    async def _complete(self) -> pb.Task:
        while await self._look() is None:
            pass  # `_there` waits, and gives up in the end
        return self._view.task

    async def _look(self) -> bool | None:
        """Read the task once; whether there was anything new, None when the agent cannot be reached."""
        task = await self._there()
        if task is None:
            return None
        news = self._view.see(task)
        await self._tell(news)
        return bool(news)

    async def _there(self) -> pb.Task | None:
        """The task as it is, None when the agent cannot be reached; raises when it has been so for too long."""
        try:
            task = await self._peer.get(self._view.task.id)
        except CallFailed as error:
            if time.monotonic() - self._reached > self._lost:
                raise
            await asyncio.sleep(max(0.2, min(error.retry_after or 0.0, self._longest)))
            return None
        self._reached = time.monotonic()
        return task

    async def _tell(self, news: list[News]) -> None:
        for one in news:
            await self._listener(one)
