"""What planner, coder, reviewer and tester have in common as A2A agents: reading a request, telling how it
goes, and ending in a state with a reason."""

import asyncio
import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types.a2a_pb2 import Message, Part, Task, TaskState, TaskStatus
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value
from pydantic import BaseModel, ValidationError

from parley_agents import scratch
from parley_agents.artifacts import GIT_BUNDLE, REQUEST, Commit, PlanStep, StepRequest
from parley_agents.bundles import Exchange, data_of
from parley_agents.settings import AgentSettings, load_settings
from parley_core.errors import ParleyError

MAX_GOAL = 32_768
_BUNDLE_NAME = re.compile(r"^(?P<commit>[0-9a-f]{40}(?:[0-9a-f]{24})?)\.bundle$")

Say = Callable[[str], Awaitable[None]]


class Rejected(ParleyError):
    """The request cannot be worked on as it is; the message says what to send instead."""


@dataclass(frozen=True, slots=True)
class Work:
    """One request being worked on. `bundles` are in an order in which each has what it builds on before it."""

    request: StepRequest
    bundles: tuple[bytes, ...]
    settings: AgentSettings
    exchange: Exchange
    say: Say

    @property
    def base(self) -> str:
        """The snapshot to work on. Raises Rejected when the request has none."""
        if self.request.base is None:
            raise Rejected("the request has no `base`: send a snapshot as <commit>.bundle and name it there")
        return self.request.base.commit

    @property
    def change(self) -> str:
        """The commit under judgement. Raises Rejected when the request has none."""
        if self.request.change is None:
            raise Rejected(
                "the request has no `change`: send its bundle as <commit>.bundle and name it there"
            )
        return self.request.change.commit


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent made: one artifact of `parts`, and a sentence about it."""

    artifact: str
    name: str
    parts: Sequence[Part]
    summary: str


class RoleExecutor(AgentExecutor):
    """Base of the team's agents. Subclasses say what `skill` they are asked for and do `work`."""

    skill = ""

    def __init__(self, settings: AgentSettings | None = None) -> None:
        """Settings default to the environment. Raises ConfigurationError when they cannot be used."""
        self.settings = settings or load_settings()
        scratch.sweep()
        self.exchange = Exchange.from_settings(self.settings)

    @abstractmethod
    async def work(self, work: Work) -> Answer:
        """Do what is asked. Raises Rejected for a request that cannot be done, other ParleyErrors for failures."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Task first, then how it goes, then the artifact, then the end with its reason (A2A section 3.2)."""
        message = context.message
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        if context.current_task is None:
            await event_queue.enqueue_event(
                Task(
                    id=updater.task_id,
                    context_id=updater.context_id,
                    status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
                    history=[message] if message else [],
                )
            )

        async def say(text: str) -> None:
            await updater.start_work(_words(updater, text))

        try:
            request, parts = read_request(message.parts if message else [], self.skill)
            await updater.start_work()
            bundles = await _bundles(parts, self.exchange)
            answer = await self.work(Work(request, bundles, self.settings, self.exchange, say))
        except Rejected as error:
            await updater.reject(_words(updater, str(error)))
        except ParleyError as error:
            await updater.failed(_words(updater, str(error)))
        except TimeoutError:
            await updater.failed(_words(updater, "it took longer than allowed"))
        else:
            await updater.add_artifact(
                list(answer.parts), artifact_id=answer.artifact, name=answer.name, last_chunk=True
            )
            await updater.complete(_words(updater, answer.summary))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """The framework has cancelled `execute`, which killed what it had started; say so."""
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        await updater.cancel(_words(updater, "canceled on request"))


def read_request(parts: Sequence[Part], skill: str) -> tuple[StepRequest, dict[str, Part]]:
    """The request in a message, and its bundle parts by commit.

    A message without a data part is a request too, when it says in words what is wanted and brings one bundle:
    so a client that knows only plain A2A can ask. Raises Rejected that names every fault.
    """
    bundles = {}
    for part in parts:
        name = _BUNDLE_NAME.match(part.filename)
        if name and part.WhichOneof("content") in ("raw", "url"):
            bundles[name["commit"]] = part
        elif part.media_type == GIT_BUNDLE:
            raise Rejected(
                f"the bundle {part.filename or '(without a name)'!r} must be named <commit>.bundle"
            )
    text = "\n".join(p.text for p in parts if p.WhichOneof("content") == "text" and not p.filename).strip()
    data = next((p for p in parts if p.media_type == REQUEST), None)
    if data is None:
        if not text or len(bundles) != 1:
            raise Rejected(
                f"send a data part of media type {REQUEST}, or say in words what to do and "
                "attach the repository as one git bundle named <commit>.bundle"
            )
        step = PlanStep(
            id="request", title=text.splitlines()[0][:200], skill=skill, instructions=text[:MAX_GOAL]
        )
        return StepRequest(goal=text[:MAX_GOAL], step=step, base=Commit(commit=next(iter(bundles)))), bundles
    try:
        request = StepRequest.model_validate(data_of(data))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'request'}: {e['msg']}" for e in error.errors()[:8]
        )
        raise Rejected(f"the request cannot be used: {faults}") from error
    if len(request.goal) > MAX_GOAL:
        raise Rejected(f"the goal is longer than {MAX_GOAL} characters: shorten it")
    for commit in (request.base, request.change):
        if commit and commit.prerequisite == commit.commit:
            raise Rejected(f"commit {commit.commit[:12]} is named as its own prerequisite")
    return request, bundles


async def _bundles(parts: dict[str, Part], exchange: Exchange) -> tuple[bytes, ...]:
    """Contents of the bundles; those that stand alone first, the others after what they need."""
    contents = await asyncio.gather(*(exchange.bytes_of(part) for part in parts.values()))
    waiting = {commit: (data, _needs(data)) for commit, data in zip(parts, contents, strict=True) if data}
    ordered: list[bytes] = []
    while waiting:
        free = [c for c, (_, needs) in waiting.items() if not needs & waiting.keys()] or list(waiting)
        ordered += [waiting.pop(commit)[0] for commit in free]
    return tuple(ordered)


def _needs(bundle: bytes) -> set[str]:
    header = bundle[:65536].partition(b"\n\n")[0].decode("ascii", "replace")
    return {line[1:].split(" ", 1)[0] for line in header.splitlines() if line.startswith("-")}


def data_part(model: BaseModel, media_type: str) -> Part:
    """A model as the data part of an artifact."""
    return Part(data=ParseDict(model.model_dump(mode="json"), Value()), media_type=media_type)


def _words(updater: TaskUpdater, text: str) -> Message:
    return updater.new_agent_message([Part(text=text, media_type="text/plain")])
