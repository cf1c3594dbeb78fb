"""A job where nothing can be redrawn: one line for each event, for people or as JSON."""

import json
import sys
from typing import Any

from parley_cli.board import ENDED
from parley_cli.ending import commands, said, shown, verdict
from parley_cli.events import (
    AgentStatus,
    ArtifactReady,
    Event,
    InputRequired,
    JobEnded,
    JobStarted,
    PlanReady,
    StepAgain,
    StepEnded,
    StepUpdate,
)
from parley_cli.render import clean, duration

SILENCE = 5.0
"""Seconds without a line after which what an agent says on its way is worth one."""


class PlainLines:
    """Prints events as lines of `seconds since the start · who · step · what`: the plan, what each agent made of
    its work, what became of each step. What agents say on their way is printed when nothing else is for a while."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._last = 0.0
        self._done: set[tuple[str, str, int]] = set()

    def take(self, event: Event) -> None:
        """Print what is worth a line."""
        self._start = event.at if self._start is None else self._start
        for who, text in self._said(event):
            since = max(0.0, event.at - self._start)
            print(f"{since:7.1f} s  {who:<28} {text}".rstrip(), flush=True)  # noqa: T201
            self._last = event.at

    def _said(self, event: Event) -> list[tuple[str, str]]:
        if isinstance(event, JobStarted):
            return [("parley", f"job {event.job} given to {clean(event.agent)}")]
        if isinstance(event, PlanReady):
            steps = [(f"  {clean(step.id, 26)}", clean(step.title)) for step in event.steps]
            notes = [("  note", clean(note, 160)) for note in event.notes]
            return [("parley", f"plan by {clean(event.engine)}: {clean(event.summary)}"), *steps, *notes]
        if isinstance(event, StepUpdate):
            return self._step(event)
        if isinstance(event, StepEnded):
            return [(clean(event.step, 28), f"{event.outcome}: {clean(event.reason, 160)}")]
        if isinstance(event, StepAgain):
            return [(clean(event.step, 28), f"another round: {clean(event.reason, 160)}")]
        if isinstance(event, AgentStatus):
            return self._status(event)
        if isinstance(event, ArtifactReady):
            return []
        if isinstance(event, InputRequired):
            return [("parley", f"waits for you: {clean(event.question, 2000)}")]
        if isinstance(event, JobEnded):
            return self._end(event)
        return []

    def _step(self, event: StepUpdate) -> list[tuple[str, str]]:
        if event.state in ENDED:
            self._done.add((event.step, event.role, event.round))
        if event.state in ("submitted", "working", "completed"):
            return []
        number = f" (round {event.round})" if event.round > 1 else ""
        return [(_who(event.role, event.step), event.state + number)]

    def _status(self, event: AgentStatus) -> list[tuple[str, str]]:
        done = (event.step, event.role, event.round) in self._done
        if not event.step:
            return [("parley", clean(event.text, 160))]
        if done and event.role == "planner":
            return []  # the plan itself says it
        if done or event.at - self._last >= SILENCE:
            return [(_who(event.role, event.step), clean(event.text, 160))]
        return []

    def _end(self, ended: JobEnded) -> list[tuple[str, str]]:
        took = duration(ended.at - self._start if self._start is not None else 0.0)
        words = clean(said(ended), 600)
        rows = [("parley", f"{verdict(ended)} after {took}{': ' if words else ''}{words}")]
        rows += [("parley", clean(note)) for note in ended.notes]
        if ended.out_dir:
            rows.append(("parley", f"wrote {', '.join(ended.files)} to {shown(ended.out_dir)}"))
            rows += [("parley", f"{what}: {command}") for what, command in commands(ended)]
        return rows


class JsonLines:
    """Prints each event as one JSON object on one line."""

    def take(self, event: Event) -> None:
        """Print one event."""
        put_json(event.to_json())


def put_json(value: dict[str, Any]) -> None:
    """One JSON object on a line of standard output, sent at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _who(role: str, step: str) -> str:
    return clean(f"{role} · {step}", 28)
