"""What came of a job, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from parley_cli.events import Event, InputRequired, JobEnded, JobStarted, PlanReady, StepUpdate


@dataclass(frozen=True, slots=True)
class StepResult:
    """A planned step as it went: how many rounds it took, who worked on it, the last state of that work."""

    id: str
    title: str
    rounds: int
    agents: tuple[str, ...]
    state: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came of a job. `verified`: the change passed review and the repository's tests. `out_dir` holds
    `files` (None when nothing was written, as for a job that waits for an answer)."""

    job: str
    context: str
    state: str
    verified: bool
    summary: str
    out_dir: Path | None
    files: Mapping[str, Path]
    steps: tuple[StepResult, ...]


class Outcome:
    """Folds events into a JobResult."""

    def __init__(self) -> None:
        self._steps: dict[str, StepResult] = {}
        self._job = self._context = ""
        self._ended: JobEnded | None = None
        self._waiting = False

    def take(self, event: Event) -> None:
        """Fold one event."""
        self._waiting = isinstance(event, InputRequired)
        if isinstance(event, JobStarted):
            self._job, self._context = event.job, event.context
        elif isinstance(event, PlanReady):
            for one in event.steps:
                self._steps.setdefault(one.id, StepResult(one.id, one.title, 0, (), "planned"))
        elif isinstance(event, StepUpdate):
            before = self._steps.get(event.step, StepResult(event.step, event.step, 0, (), "planned"))
            agents = (*before.agents, event.agent) if event.agent not in before.agents else before.agents
            self._steps[event.step] = replace(
                before, rounds=max(before.rounds, event.round), agents=agents, state=event.state
            )
        elif isinstance(event, JobEnded):
            self._ended = event

    @property
    def result(self) -> JobResult:
        """What came of the events so far."""
        ended = self._ended
        folder = Path(ended.out_dir) if ended and ended.out_dir else None
        return JobResult(
            job=self._job,
            context=self._context,
            state=ended.state if ended else ("input-required" if self._waiting else "working"),
            verified=bool(ended and ended.verified),
            summary=ended.summary if ended else "",
            out_dir=folder,
            files={name: folder / name for name in ended.files} if ended and folder else {},
            steps=tuple(self._steps.values()),
        )
