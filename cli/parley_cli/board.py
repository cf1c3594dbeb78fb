"""Who does what in a job, folded from its events: the one state that every way of showing it reads."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from parley_cli.events import (
    AgentStatus,
    Event,
    InputRequired,
    JobEnded,
    JobStarted,
    PlanReady,
    StepAgain,
    StepEnded,
    StepUpdate,
)

_TITLES = {"plan": "Plan", "final": "Final check of the whole change"}
ENDED = frozenset({"completed", "failed", "canceled", "rejected"})


@dataclass(slots=True)
class Work:
    """One agent's work on one step in one round. Times are seconds since the epoch."""

    role: str
    agent: str
    round: int
    state: str
    started: float
    ended: float | None = None
    said: str = ""

    def seconds(self, now: float) -> float:
        """How long it has taken, up to `now`."""
        return max(0.0, (self.ended or now) - self.started)


@dataclass(slots=True)
class Step:
    """One step of a job. `outcome` is "" until it is settled."""

    id: str
    title: str
    planned: bool = False
    outcome: str = ""
    reason: str = ""
    again: list[str] = field(default_factory=list)
    """Why each further round was begun."""
    works: dict[tuple[str, int, str], Work] = field(default_factory=dict)

    @property
    def active(self) -> list[Work]:
        """The works going on now."""
        return [work for work in self.works.values() if work.state not in ENDED]

    @property
    def waiting(self) -> bool:
        """Whether nobody has begun it."""
        return not self.works and not self.outcome

    @property
    def rounds(self) -> int:
        return max((work.round for work in self.works.values()), default=0)


class Board:
    """The state of a job as far as its events tell."""

    def __init__(self, task: str = "") -> None:
        self.task = task
        self.started: JobStarted | None = None
        self.ended: JobEnded | None = None
        self.question: InputRequired | None = None
        self.plan: PlanReady | None = None
        self.said = ""
        self._steps: dict[str, Step] = {}

    def take(self, event: Event) -> None:
        """Fold one event."""
        if isinstance(event, JobStarted):
            self.started = self.started or event
        elif isinstance(event, PlanReady):
            self.plan = event
            for one in event.steps:
                step = self._step(one.id)
                step.title, step.planned = one.title or one.id, True
        elif isinstance(event, StepUpdate):
            self._work(event)
        elif isinstance(event, StepEnded):
            step = self._step(event.step)
            step.outcome, step.reason = event.outcome, event.reason
        elif isinstance(event, StepAgain):
            again = self._step(event.step).again
            if event.reason not in again:  # a job that goes on after an answer tells of it once more
                again.append(event.reason)
        elif isinstance(event, AgentStatus):
            self._say(event)
        elif isinstance(event, InputRequired):
            self.question = event
        elif isinstance(event, JobEnded):
            self.ended = event
        if not isinstance(event, InputRequired):
            self.question = None

    def _step(self, name: str) -> Step:
        return self._steps.setdefault(name, Step(name, _TITLES.get(name, name)))

    def _work(self, event: StepUpdate) -> None:
        works = self._step(event.step).works
        key = (event.role, event.round, event.child)
        work = works.setdefault(key, Work(event.role, event.agent, event.round, event.state, event.at))
        work.state = event.state
        work.ended = event.at if event.state in ENDED else None

    def _say(self, event: AgentStatus) -> None:
        if not event.step:
            self.said = event.text
            return
        for work in reversed(self._step(event.step).works.values()):
            if (work.role, work.round) == (event.role, event.round):
                work.said = event.text
                return

    @property
    def steps(self) -> Iterator[Step]:
        """What comes before the plan, the plan's steps in its order, then the rest."""
        unplanned = [step for step in self._steps.values() if not step.planned]
        planned = [step for step in self._steps.values() if step.planned]
        first = [step for step in unplanned if any(work.role == "planner" for work in step.works.values())]
        yield from first
        yield from planned
        yield from (step for step in unplanned if step not in first)
