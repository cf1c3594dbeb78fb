"""A job on a terminal: a tree of who does what that stays in place, and a summary at the end."""

import io
import re
import shlex
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from parley_cli.board import Board, Step, Work
from parley_cli.ending import commands, said, shown, verdict
from parley_cli.events import Event

_ICONS = {
    "accepted": ("✓", "green"),
    "done": ("✓", "green"),
    "unchanged": ("–", "dim"),
    "dropped": ("↩", "yellow"),
    "skipped": ("○", "yellow"),
}
_STATES = {
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "rejected": ("✗", "red"),
    "canceled": ("✗", "yellow"),
}
_PANEL_LINES = 6
_NOTES = 3


def clean(text: str, limit: int = 300) -> str:
    """Words of others on one line, without anything a terminal would act on."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


class Screen:
    """Shows a job's events live. With `svg`, the finished picture is also written there.

    Use as a context manager around the events.
    """

    def __init__(self, task: str, *, svg: Path | None = None, quiet: bool = False) -> None:
        """`quiet` shows nothing here: the picture is only for the file."""
        self._board = Board(task)
        self._svg = svg
        file = io.StringIO() if quiet else None
        width = 120 if svg else None
        self._console = Console(record=svg is not None, width=width, file=file, highlight=False)
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            get_renderable=self._picture, console=self._console, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
        if self._svg and self._board.ended:
            self._svg.parent.mkdir(parents=True, exist_ok=True)
            picture = self._console.export_svg(title="parley run")
            self._svg.write_text(self_contained(picture), encoding="utf-8")

    def take(self, event: Event) -> None:
        """Show one more event."""
        self._board.take(event)

    def pause(self) -> None:
        """Leave what there is on the screen as it is, for a question or the end."""
        if self._live.is_started:
            self._live.stop()
            self._console.print(self._picture(whole=True))

    def resume(self) -> None:
        """Go on after `pause`."""
        self._live.start()

    def _picture(self, *, whole: bool = False) -> RenderableType:
        now = time.time()
        notes = self._notes()
        room = 10_000 if whole else max(6, self._console.height - _PANEL_LINES - len(notes))
        parts: list[RenderableType] = [
            self._head(now),
            _steps(list(self._board.steps), now, room, self._spinner),
        ]
        parts += notes
        if self._board.ended:
            parts.append(summary(self._board))
        elif self._board.said:
            parts.append(Text(f"  {clean(self._board.said, self._console.width - 4)}", style="dim"))
        return Group(*parts)

    def _notes(self) -> list[Text]:
        """What was asked for and is not planned."""
        plan = self._board.plan
        notes = plan.notes[:_NOTES] if plan and plan.steps else ()
        return [Text(f"   {clean(note, self._console.width - 4)}", style="dim") for note in notes]

    def _head(self, now: float) -> RenderableType:
        line = Text()
        line.append("● ", style="cyan")
        line.append(clean(self._board.task or "job", 80), style="bold")
        if self._board.started:
            end = self._board.ended.at if self._board.ended else now
            line.append(f"   {duration(end - self._board.started.at)}", style="cyan")
            line.append(f"   job {self._board.started.job[:8]}", style="dim")
        if self._board.plan:
            count = len(self._board.plan.steps)
            line.append(
                f"   {count} step{'s' if count != 1 else ''} by {clean(self._board.plan.engine, 20)}",
                style="dim",
            )
        return line


def self_contained(picture: str) -> str:
    """An SVG of rich's without the web fonts it names: looking at it must not call anyone."""
    picture = re.sub(r"\s*@font-face\s*\{.*?\}", "", picture, flags=re.DOTALL)
    return picture.replace("font-family: Fira Code, monospace", "font-family: monospace")


def _steps(steps: list[Step], now: float, room: int, spinner: Spinner) -> RenderableType:
    """A line for each step, more for those at work. What does not fit is counted instead of shown."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2, justify="right")
    table.add_column(min_width=24, max_width=44, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=1)
    busy = [step for step in steps if step.active]
    settled = [step for step in steps if not step.active and not step.waiting]
    waiting = [step for step in steps if step.waiting]
    needed = sum(1 + len(step.active) for step in busy) + len(settled) + len(waiting)
    hidden = waiting[max(0, len(waiting) - max(0, needed - room + 1)) :] if needed > room else []
    folded = settled[: max(0, needed - len(hidden) - room + 1)] if needed - len(hidden) > room else []
    if folded:
        table.add_row(Text("✓", style="green"), Text(f"{len(folded)} steps settled", style="dim"), "")
    for step in steps:
        if step not in hidden and step not in folded:
            _rows(table, step, now, spinner)
    if hidden:
        table.add_row("", Text(f"… {len(hidden)} more to come", style="dim"), "")
    return table


def _rows(table: Table, step: Step, now: float, spinner: Spinner) -> None:
    title = Text(clean(step.title, 80))
    if step.waiting:
        table.add_row(Text("·", style="dim"), Text(clean(step.title, 80), style="dim"), "")
        return
    if step.active:
        done = [work for work in step.works.values() if work not in step.active]
        table.add_row(spinner, title, _who(step, now, done))
        _reasons(table, step)
        for work in step.active:
            table.add_row("", _active(work, now), Text(clean(work.said, 100), style="dim"))
        return
    icon, style = _ICONS.get(step.outcome, ("✓", "green") if not _failed(step) else ("✗", "red"))
    who = _who(step, now, list(step.works.values()))
    if step.outcome == "unchanged":
        who.append("  nothing to change", style="dim")
    table.add_row(Text(icon, style=style), title, who)
    _reasons(table, step)
    if step.outcome in ("dropped", "skipped"):
        word = "taken back" if step.outcome == "dropped" else "skipped"
        table.add_row("", "", Text(f"{word}: {clean(step.reason, 160)}", style="yellow"))


def _reasons(table: Table, step: Step) -> None:
    """Why there was another round."""
    for number, reason in enumerate(step.again, start=2):
        table.add_row("", "", Text(f"[{number}] because: {clean(reason, 90)}", style="yellow"))


def _active(work: Work, now: float) -> Text:
    line = Text("  ")
    line.append(clean(work.role, 16), style="cyan")
    if work.agent != work.role:
        line.append(f" {clean(work.agent, 24)}", style="dim")
    line.append(f"  {duration(work.seconds(now))}", style="dim")
    if work.round > 1:
        line.append(f"  round {work.round}", style="yellow")
    if work.state not in ("working", "submitted"):
        line.append(f"  {work.state}", style="yellow")
    return line


def _who(step: Step, now: float, works: list[Work]) -> Text:
    """Who worked on a step, for how long, round by round."""
    line = Text()
    for number in sorted({work.round for work in works}):
        if step.rounds > 1:
            line.append(f"{' ' if line else ''}[{number}] ", style="dim")
        for place, work in enumerate(work for work in works if work.round == number):
            icon, style = _STATES.get(work.state, ("", "dim"))
            line.append(" · " if place else "", style="dim")
            line.append(f"{clean(work.role, 16)} ", style="cyan")
            line.append(duration(work.seconds(now)), style="dim")
            if icon == "✗":
                line.append(f" {icon}", style=style)
    return line


def _failed(step: Step) -> bool:
    return bool(step.works) and list(step.works.values())[-1].state != "completed"


def duration(seconds: float) -> str:
    """Seconds for people: 0.4 s, 12 s, 3 min 05 s."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def summary(board: Board) -> RenderableType:
    """What came of the job, and what to do with it."""
    ended = board.ended
    assert ended
    body = Text()
    notes = board.plan.notes if board.plan and not ended.changed else ()
    body.append(
        clean(said(ended), 600) or "\n".join(clean(note) for note in notes) or f"the job {ended.state}"
    )
    for note in ended.notes:
        body.append(f"\n{clean(note)}", style="yellow")
    if ended.out_dir:
        place = shown(ended.out_dir)
        body.append("\n\n")
        body.append("result     ", style="bold")
        body.append(f"{place}/  ", style="cyan")
        body.append("  ".join(ended.files), style="dim")
        for what, command in commands(ended):
            body.append(f"\n{what:<11}", style="bold")
            body.append(command, style="cyan")
        body.append("\nread why   ", style="bold")
        body.append(f"less {shlex.quote(place)}/report.md", style="cyan")
    colour = "green" if ended.verified else "yellow"
    title = Text(verdict(ended), style=f"bold {colour}")
    return Panel(body, title=title, title_align="left", border_style=colour)


def console() -> Console:
    """For tables and trees: as wide as the terminal, or as the longest line where there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def on_terminal() -> bool:
    """Whether standard output is a terminal that can be redrawn."""
    return sys.stdout.isatty() and Console().is_terminal
