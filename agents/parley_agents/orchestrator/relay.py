"""What children do, told in the parent task's own stream as it happens."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict

from parley_agents.artifacts import GIT_BUNDLE

if TYPE_CHECKING:
    from a2a.server.events import EventQueue

DELEGATION = "parley.dev/delegation"
"""Metadata of a relayed event: which child, which step, which round, and the child's state."""
CHILDREN = "parley.dev/children"
"""Metadata of the task: every child so far, by key, with where it is. What cancelling goes by after a restart."""
QUESTION = "parley.dev/question"
"""Metadata of an input-required or auth-required status: the id of the question and who asks."""
VERIFIED = "parley.dev/verified"
"""Metadata of the last status: whether the delivered change counts as verified."""
CHANGED = "parley.dev/changed"
"""Metadata of the last status: whether there is a change; a verified task without one had nothing to change."""
STEP = "parley.dev/step"
"""Metadata of a status in which the orchestrator says what became of a step: its id, the outcome and why."""

ENDED = frozenset({"TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"})
MAX_CHILDREN = 64
"""From here on CHILDREN leaves out those that have ended."""
MAX_TEXT = 4_000
"""Characters of a child's words that are relayed."""
MAX_PART = 256 * 1024
"""Bytes of a child's artifact part that is relayed; larger ones and bundles stay between the agents."""


@dataclass(slots=True)
class Child:
    """A child task as the parent tells of it."""

    key: str
    step: str
    role: str
    skill: str
    round: int
    agent: str
    version: str
    interface: dict[str, str]
    """Where it is: the card's first interface."""
    external: bool = False
    """Whether somebody registered its agent by its URL."""
    task_id: str = ""
    context_id: str = ""
    state: str = "TASK_STATE_SUBMITTED"

    @property
    def delegation(self) -> dict[str, Any]:
        """The value of DELEGATION."""
        return {
            "step": self.step,
            "agent": self.agent,
            "version": self.version,
            "skill": self.skill,
            "childTaskId": self.task_id,
            "childContextId": self.context_id,
            "round": self.round,
            "state": self.state,
            "role": self.role,
        }

    @property
    def record(self) -> dict[str, Any]:
        """The child's entry in CHILDREN."""
        return self.delegation | {"interface": self.interface, "external": self.external}


class Relay:
    """Writes into the stream of one task."""

    def __init__(self, queue: "EventQueue", task_id: str, context_id: str) -> None:
        self._queue = queue
        self.task_id = task_id
        self.context_id = context_id
        self.children: dict[str, Child] = {}

    async def begin(self, message: pb.Message) -> None:
        """Show the task, WORKING, with the message that began it."""
        status = pb.TaskStatus(state=pb.TASK_STATE_WORKING)
        await self._queue.enqueue_event(
            pb.Task(id=self.task_id, context_id=self.context_id, status=status, history=[message])
        )

    async def say(self, text: str) -> None:
        """One line of our own on what goes on."""
        await self.status(pb.TASK_STATE_WORKING, text)

    async def settled(self, step: str, outcome: str, reason: str) -> None:
        """What became of a step."""
        told = {"step": step, "outcome": outcome, "reason": reason[:MAX_TEXT]}
        await self.status(pb.TASK_STATE_WORKING, f"{step} {outcome}: {reason[:1000]}", {STEP: told})

    async def again(self, step: str, reason: str) -> None:
        """A step goes into another round."""
        told = {"step": step, "outcome": "again", "reason": reason[:MAX_TEXT]}
        text = f"{step}: another round, because {reason[:1000]}"
        await self.status(pb.TASK_STATE_WORKING, text, {STEP: told})

    async def status(
        self,
        state: int,
        text: str,
        metadata: Mapping[str, Any] | None = None,
        parts: list[pb.Part] | None = None,
    ) -> None:
        """A status of the task itself; `text` may be empty."""
        event = pb.TaskStatusUpdateEvent(task_id=self.task_id, context_id=self.context_id)
        event.status.state = state  # type: ignore[assignment]
        event.status.timestamp.GetCurrentTime()
        if text or parts:
            event.status.message.CopyFrom(self._message(text, parts or []))
        if metadata:
            event.metadata.update(metadata)
        await self._queue.enqueue_event(event)

    async def opened(self, child: Child) -> None:
        """A child has a task: tell who it is, and keep where it is in the task itself."""
        self.children[child.key] = child
        shown = self.children.values()
        if len(shown) > MAX_CHILDREN:
            shown = [one for one in shown if one is child or one.state not in ENDED]  # type: ignore[assignment]
        everyone = {one.key: one.record for one in shown}
        text = f"{child.role} {child.agent} works on {child.step}"
        text += f", round {child.round}" if child.round > 1 else ""
        await self.status(pb.TASK_STATE_WORKING, text, {DELEGATION: child.delegation, CHILDREN: everyone})

    async def child_status(self, child: Child, state: int, text: str) -> None:
        """A child's new status."""
        child.state = pb.TaskState.Name(state)  # type: ignore[arg-type]
        self.children[child.key] = child
        await self.status(pb.TASK_STATE_WORKING, text[:MAX_TEXT], {DELEGATION: child.delegation})

    async def child_artifact(self, child: Child, artifact: pb.Artifact, *, append: bool, last: bool) -> None:
        """A child's artifact, or a piece of one, without bundles and without what is too large."""
        parts = [part for part in artifact.parts if _relayed(part)]
        if not parts:
            return
        event = pb.TaskArtifactUpdateEvent(
            task_id=self.task_id, context_id=self.context_id, append=append, last_chunk=last
        )
        event.artifact.artifact_id = f"{child.key}/{artifact.artifact_id}"
        event.artifact.name = artifact.name
        event.artifact.description = artifact.description[:MAX_TEXT]
        event.artifact.parts.extend(parts)
        event.artifact.metadata.update({DELEGATION: child.delegation})
        event.metadata.update({DELEGATION: child.delegation})
        await self._queue.enqueue_event(event)

    async def artifact(self, name: str, part: pb.Part, description: str = "") -> None:
        """One of the task's own artifacts, whole; the same name again replaces it."""
        artifact = pb.Artifact(artifact_id=name, name=name, description=description, parts=[part])
        await self._queue.enqueue_event(
            pb.TaskArtifactUpdateEvent(
                task_id=self.task_id, context_id=self.context_id, artifact=artifact, last_chunk=True
            )
        )

    def _message(self, text: str, parts: list[pb.Part]) -> pb.Message:
        own = [pb.Part(text=text, media_type="text/plain")] if text else []
        return pb.Message(
            message_id=str(uuid.uuid4()),
            role=pb.ROLE_AGENT,
            task_id=self.task_id,
            context_id=self.context_id,
            parts=[*own, *parts],
        )


def children_in(task: pb.Task) -> dict[str, Child]:
    """The children that a task's metadata tells of."""
    told = MessageToDict(task.metadata).get(CHILDREN) or {}
    return {
        key: Child(
            key=key,
            step=one["step"],
            role=one["role"],
            skill=one["skill"],
            round=int(one["round"]),
            agent=one["agent"],
            version=one["version"],
            interface=one["interface"],
            external=one["external"],
            task_id=one["childTaskId"],
            context_id=one["childContextId"],
            state=one["state"],
        )
        for key, one in told.items()
    }


def _relayed(part: pb.Part) -> bool:
    kind = part.WhichOneof("content")
    if (
        part.media_type == GIT_BUNDLE
        or part.filename.endswith(".bundle")
        or kind not in ("text", "data", "raw")
    ):
        return False
    return part.ByteSize() <= MAX_PART
