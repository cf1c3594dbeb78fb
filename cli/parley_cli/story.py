"""How a task's A2A stream is read as events.

Pure: the same stream read again from its start gives the same events, which is how watching a job later shows
it whole.
"""

import json
import time
from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict

from parley_agents.artifacts import PLAN
from parley_agents.orchestrator.relay import CHANGED, CHILDREN, DELEGATION, STEP, VERIFIED
from parley_cli.events import (
    AgentStatus,
    ArtifactReady,
    Event,
    InputRequired,
    JobEnded,
    JobStarted,
    PlannedStep,
    PlanReady,
    StepAgain,
    StepEnded,
    StepUpdate,
)
from parley_runtime.store import INTERRUPTED, TERMINAL
from parley_runtime.task import GENERATION

MAX_TEXT = 4_000
"""Characters kept of any text that an agent says."""
MAX_STEPS = 500
MAX_NOTES = 50
_OUTCOMES = frozenset({"accepted", "unchanged", "done", "dropped", "skipped"})


class Story:
    """Folds the stream of one task into events."""

    def __init__(self, agent: str, url: str) -> None:
        self._agent = agent
        self._url = url
        self._begun = False
        self._states: dict[tuple[str, str, int, str], str] = {}
        self._plan: tuple[PlannedStep, ...] | None = None
        self._asked = ""
        self.job = ""
        self.context = ""
        self.generation = 0
        self.ended = False

    def take(self, event: pb.StreamResponse) -> list[Event]:
        """The events that a StreamResponse brings."""
        kind = event.WhichOneof("payload")
        self.generation = max(self.generation, generation_of(event))
        if kind == "task":
            return self._task(event.task)
        if kind == "status_update":
            update = event.status_update
            begun = self._begin(update.task_id, update.context_id, _when(update.status))
            metadata = _plain(update.metadata)
            if CHILDREN in metadata:  # only says that the child has begun, which the delegation says too
                return begun + self._step(metadata.get(DELEGATION), _when(update.status))
            return begun + self._status(update.status, metadata)
        if kind == "artifact_update":
            change = event.artifact_update
            begun = self._begin(change.task_id, change.context_id, time.time())
            return begun + self._artifact(change.artifact, _plain(change.metadata).get(DELEGATION))
        return []

    def _begin(self, job: str, context: str, at: float) -> list[Event]:
        if self._begun:
            return []
        self._begun, self.job, self.context = True, job, context
        return [JobStarted(job=job, at=at, context=context, agent=self._agent, url=self._url)]

    def _task(self, task: pb.Task) -> list[Event]:
        """A whole task: all of it that was not told before."""
        at = _when(task.status)
        events = self._begin(task.id, task.context_id, at)
        metadata = _plain(task.metadata)
        children = metadata.get(CHILDREN)
        for child in children.values() if isinstance(children, dict) else ():
            events += self._step(child, at)
        for artifact in task.artifacts:
            events += self._artifact(artifact, _plain(artifact.metadata).get(DELEGATION))
        own = {name: metadata[name] for name in (VERIFIED, CHANGED) if name in metadata}
        return events + self._status(task.status, own)  # the rest is left from events before the last

    def _status(self, status: pb.TaskStatus, metadata: dict[str, Any]) -> list[Event]:
        at, text, events = _when(status), text_of(status.message), list[Event]()
        told = metadata.get(DELEGATION)
        who = _who(told)
        if who:
            events += self._step(told, at)
        if status.state in TERMINAL:
            if not self.ended:
                self.ended = True
                events.append(
                    JobEnded(
                        job=self.job,
                        at=at,
                        state=state_name(status.state),
                        verified=metadata.get(VERIFIED) is True,
                        changed=metadata.get(CHANGED) is not False,
                        summary=text,
                    )
                )
        elif status.state in INTERRUPTED:
            if status.message.message_id != self._asked or not self._asked:
                self._asked = status.message.message_id
                needs_login = status.state == pb.TASK_STATE_AUTH_REQUIRED
                events.append(InputRequired(job=self.job, at=at, question=text, authentication=needs_login))
        elif settled := self._settled(metadata.get(STEP), at):
            events.append(settled)
        elif text:
            events.append(AgentStatus(job=self.job, at=at, text=text, **who))
        return events

    def _settled(self, told: object, at: float) -> Event | None:
        """What the orchestrator says became of a step of its plan; None when it says nothing of that."""
        if not isinstance(told, dict) or all(step.id != told.get("step") for step in self._plan or ()):
            return None
        step, outcome, reason = told["step"], told.get("outcome"), str(told.get("reason", ""))[:MAX_TEXT]
        if outcome == "again":
            return StepAgain(job=self.job, at=at, step=step, reason=reason)
        if isinstance(outcome, str) and outcome in _OUTCOMES:
            return StepEnded(job=self.job, at=at, step=step, outcome=outcome, reason=reason)
        return None

    def _step(self, told: object, at: float) -> list[Event]:
        who = _who(told)
        if not who or not isinstance(told, dict):
            return []
        child = str(told.get("childTaskId", ""))[:128]
        state = _short(str(told.get("state", "")))
        key = (who["step"], who["role"], who["round"], child)
        if self._states.get(key) == state or len(self._states) > 100 * MAX_STEPS:
            return []
        self._states[key] = state
        version, skill = str(told.get("version", ""))[:64], str(told.get("skill", ""))[:64]
        return [
            StepUpdate(job=self.job, at=at, state=state, child=child, version=version, skill=skill, **who)
        ]

    def _artifact(self, artifact: pb.Artifact, told: object) -> list[Event]:
        events: list[Event] = []
        at = time.time()
        for part in artifact.parts:
            if part.media_type == PLAN:
                events += self._planned(part, at)
        types = tuple(part.media_type[:128] for part in artifact.parts[:16])
        size = sum(part.ByteSize() for part in artifact.parts)
        name = (artifact.name or artifact.artifact_id)[:256]
        return [
            *events,
            ArtifactReady(job=self.job, at=at, name=name, media_types=types, size=size, **_who(told)),
        ]

    def _planned(self, part: pb.Part, at: float) -> list[Event]:
        plan = json_of(part)
        rows = plan.get("steps")
        if not isinstance(rows, list):
            return []
        steps = tuple(
            PlannedStep(
                id=str(row.get("id", ""))[:64],
                title=str(row.get("title", ""))[:200],
                skill=str(row.get("skill", ""))[:64],
                needs=tuple(str(need)[:64] for need in row.get("needs") or ()),
            )
            for row in rows[:MAX_STEPS]
            if isinstance(row, dict)
        )
        if steps == self._plan:
            return []
        self._plan = steps
        summary, engine = str(plan.get("summary", ""))[:MAX_TEXT], str(plan.get("engine", ""))[:64]
        given = plan.get("notes")
        notes = tuple(str(one)[:MAX_TEXT] for one in given[:MAX_NOTES]) if isinstance(given, list) else ()
        return [PlanReady(job=self.job, at=at, steps=steps, summary=summary, engine=engine, notes=notes)]


def generation_of(event: pb.StreamResponse) -> int:
    """The number of an event within its task; 0 where the agent does not count."""
    payload = getattr(event, event.WhichOneof("payload") or "message")
    if not payload.HasField("metadata") or GENERATION not in payload.metadata:
        return 0
    number = payload.metadata[GENERATION]
    return int(number) if isinstance(number, float) and number > 0 else 0


def state_name(state: int) -> str:
    """A TaskState in lower case without its prefix: `input-required`."""
    try:
        return _short(pb.TaskState.Name(state))  # type: ignore[arg-type]
    except ValueError:
        return "unknown"


def text_of(message: pb.Message) -> str:
    """The text parts of a message, cut to MAX_TEXT."""
    words = [part.text for part in message.parts if part.WhichOneof("content") == "text"]
    return "\n".join(words).strip()[:MAX_TEXT]


def json_of(part: pb.Part) -> dict[str, Any]:
    """The JSON object in a part, however it travels; {} when there is none."""
    kind = part.WhichOneof("content")
    try:
        if kind == "data":
            found = MessageToDict(part.data)
        else:
            found = json.loads(part.text if kind == "text" else part.raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _short(name: str) -> str:
    return name.removeprefix("TASK_STATE_").replace("_", "-").lower()[:32]


def _who(told: object) -> dict[str, Any]:
    """step, role, agent and round of a delegation; {} when it is not one."""
    if not isinstance(told, dict) or not told.get("step"):
        return {}
    number = told.get("round")
    return {
        "step": str(told["step"])[:64],
        "role": str(told.get("role", ""))[:32],
        "agent": str(told.get("agent", ""))[:64],
        "round": int(number) if isinstance(number, int | float) and 0 <= number < 1000 else 1,
    }


def _plain(struct: Any) -> dict[str, Any]:
    return MessageToDict(struct) if struct.fields else {}


def _when(status: pb.TaskStatus) -> float:
    if not status.HasField("timestamp"):
        return time.time()
    return status.timestamp.seconds + status.timestamp.nanos / 1e9
