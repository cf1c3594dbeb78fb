"""What is printed: nothing a terminal would act on, whatever agents say."""

import json
import time
from pathlib import Path

import pytest

from parley_cli.events import (
    AgentStatus,
    JobEnded,
    JobStarted,
    PlannedStep,
    PlanReady,
    StepAgain,
    StepEnded,
    StepUpdate,
)
from parley_cli.lines import JsonLines, PlainLines
from parley_cli.render import Screen, clean, duration

HOSTILE = "\x1b]0;owned\x07\x1b[2Jred\r\n[bold]x[/] \u202eevil\x00"


def story(text: str) -> list:
    now = time.time()
    step = PlannedStep(id="s1", title=text, skill="edit-code", needs=())
    who = {"step": "s1", "role": "coder", "agent": text, "round": 1}
    return [
        JobStarted(job="j1", at=now, context="c", agent=text, url="u"),
        PlanReady(job="j1", at=now, steps=(step,), summary=text, engine="rules"),
        StepUpdate(job="j1", at=now + 1, state="working", version="1", skill="edit-code", child="k", **who),
        AgentStatus(job="j1", at=now + 1, text=text, **who),
        StepUpdate(job="j1", at=now + 2, state="completed", version="1", skill="edit-code", child="k", **who),
        StepAgain(job="j1", at=now + 2, step="s1", reason=text),
        StepEnded(job="j1", at=now + 2, step="s1", outcome="dropped", reason=text),
        JobEnded(job="j1", at=now + 3, state="completed", verified=True, summary=text, notes=(text,)),
    ]


def test_plain_lines_carry_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines()
    for event in story(HOSTILE):
        lines.take(event)
    out = capsys.readouterr().out
    assert "red" in out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "verified after 3.0 s" in out


def test_json_lines_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = JsonLines()
    for event in story(HOSTILE):
        lines.take(event)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["event"] for row in rows] == [
        "job-started", "plan-ready", "step-update", "agent-status", "step-update",
        "step-again", "step-ended", "job-ended",
    ]  # fmt: skip


def test_the_picture_of_a_run_is_saved_without_anything_of_theirs_in_it(tmp_path: Path) -> None:
    with Screen("a task", svg=tmp_path / "run.svg", quiet=True) as screen:
        for event in story(HOSTILE):
            screen.take(event)
    picture = (tmp_path / "run.svg").read_text()
    assert "<svg" in picture
    assert 'url("http' not in picture  # looking at it calls nobody
    assert "\x1b" not in picture
    assert "taken&#160;back" in picture
    assert "because" in picture
    assert "[bold]x[/]" in picture.replace("&#160;", " ")


def test_durations_read_well() -> None:
    assert [duration(s) for s in (-1, 0.04, 9.94, 12.4, 185.9)] == [
        "0.0 s",
        "0.0 s",
        "9.9 s",
        "12 s",
        "3 min 05 s",
    ]


def test_clean_is_one_bounded_line() -> None:
    assert clean("a\n\tb" + "c" * 500, 10) == "a bcccccc…"
