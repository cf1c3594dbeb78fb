"""A job where nothing can be redrawn: one line for each event, for people or as JSON."""

import json
import sys
from typing import Any

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
from parley_cli.render import clean, duration, has_change, shown


class PlainLines:
    """Prints events as lines of `seconds since the start · who · step · what`."""

    def __init__(self) -> None:
        self._start: float | None = None

    def take(self, event: Event) -> None:
        """Print what is worth a line."""
        self._start = event.at if self._start is None else self._start
        for who, text in self._said(event):
            since = max(0.0, event.at - self._start)
            print(f"{since:7.1f} s  {who:<28} {text}", flush=True)  # noqa: T201

    def _said(self, event: Event) -> list[tuple[str, str]]:
        if isinstance(event, JobStarted):
            return [("parley", f"job {event.job} given to {clean(event.agent)}")]
        if isinstance(event, PlanReady):
            steps = [(f"  {clean(step.id, 26)}", clean(step.title)) for step in event.steps]
            return [("parley", f"plan by {clean(event.engine)}: {clean(event.summary)}"), *steps]
        if isinstance(event, StepUpdate):
            number = f" (round {event.round})" if event.round > 1 else ""
            return [(_who(event.role, event.step), event.state + number)]
        if isinstance(event, StepEnded):
            return [(clean(event.step, 28), f"{event.outcome}: {clean(event.reason, 160)}")]
        if isinstance(event, StepAgain):
            return [(clean(event.step, 28), f"another round: {clean(event.reason, 160)}")]
        if isinstance(event, AgentStatus):
            return [(_who(event.role, event.step) if event.step else "parley", clean(event.text, 160))]
        if isinstance(event, ArtifactReady):
            return []
        if isinstance(event, InputRequired):
            return [("parley", f"waits for you: {clean(event.question, 2000)}")]
        if isinstance(event, JobEnded):
            return self._end(event)
        return []

    def _end(self, ended: JobEnded) -> list[tuple[str, str]]:
        took = duration(ended.at - (self._start or ended.at))
        word = "verified" if ended.verified else f"NOT verified ({ended.state})"
        rows = [("parley", f"{word} after {took}: {clean(ended.summary, 600)}")]
        rows += [("parley", clean(note)) for note in ended.notes]
        if ended.out_dir:
            place = shown(ended.out_dir)
            rows.append(("parley", f"wrote {', '.join(ended.files)} to {place}"))
            if has_change(ended):
                rows.append(("parley", f"apply it with: git apply {place}/change.patch"))
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
