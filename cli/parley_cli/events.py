"""What happens during a job, as typed events. `story` reads them out of a task's A2A stream."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. `at` is when it happened, in seconds since the epoch, by the agent's clock."""

    kind: ClassVar[str] = ""
    job: str
    at: float

    def to_json(self) -> dict[str, Any]:
        """The event as one JSON object: its fields, and its `event` name (see docs/cli.md)."""
        return {"event": self.kind, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """The orchestrator has the job: `job` is its task id there, `context` the conversation it belongs to."""

    kind: ClassVar[str] = "job-started"
    context: str
    agent: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step as planned: who can do it (`skill`), and the steps it waits for (`needs`)."""

    id: str
    title: str
    skill: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReady(Event):
    """There is a plan, or a new one that takes the place of the one before. `engine` says what made it, `notes`
    what was asked for and is not planned, and why."""

    kind: ClassVar[str] = "plan-ready"
    steps: tuple[PlannedStep, ...]
    summary: str
    engine: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUpdate(Event):
    """An agent's work on a step has a new state (`submitted`, `working`, `input-required`, `auth-required`,
    `completed`, `failed`, `canceled`, `rejected`). `child` is its own task's id there."""

    kind: ClassVar[str] = "step-update"
    step: str
    state: str
    role: str
    agent: str
    version: str
    skill: str
    round: int
    child: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded(Event):
    """A step is settled. `outcome`: `accepted` (its change is in), `unchanged` (nothing was to be changed),
    `done` (it was only to look), `dropped` (its change was taken back) or `skipped` (it was never begun)."""

    kind: ClassVar[str] = "step-ended"
    step: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAgain(Event):
    """A step goes into another round, because of what review or tests hold against its change."""

    kind: ClassVar[str] = "step-again"
    step: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus(Event):
    """Something an agent says. `step` and `role` are "" for the orchestrator itself."""

    kind: ClassVar[str] = "agent-status"
    text: str
    step: str = ""
    role: str = ""
    agent: str = ""
    round: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactReady(Event):
    """An artifact, or a piece of one, has come. `media_types` are those of its parts, `size` their bytes."""

    kind: ClassVar[str] = "artifact-ready"
    name: str
    media_types: tuple[str, ...]
    size: int
    step: str = ""
    role: str = ""
    agent: str = ""
    round: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRequired(Event):
    """The job waits for an answer (`Parley.answer`, `parley task answer`). What there is to look at before is
    in `files` in `out_dir`, as for JobEnded."""

    kind: ClassVar[str] = "input-required"
    question: str
    authentication: bool = False
    out_dir: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded(Event):
    """The job is over. `state` as in StepUpdate; `verified` whether the change passed review and tests, `changed`
    whether there is one: verified without a change means that there was nothing to change. `files` are the names of the files written to `out_dir` ("" when nothing was)."""

    kind: ClassVar[str] = "job-ended"
    state: str
    verified: bool
    summary: str
    changed: bool = True
    out_dir: str = ""
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
