"""What is printed: nothing a terminal would act on, whatever agents say."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from parley_cli.ending import commands
from parley_cli.events import (
    AgentStatus,
    Event,
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


WHO = {"step": "s1", "role": "coder", "agent": "coder", "round": 1}


def printed(capsys: pytest.CaptureFixture[str], *events: Event) -> list[str]:
    lines = PlainLines()
    for event in events:
        lines.take(event)
    return [line.partition(" s  ")[2] for line in capsys.readouterr().out.splitlines()]


def update(state: str, at: float) -> StepUpdate:
    return StepUpdate(job="j", at=at, state=state, version="1", skill="edit-code", child="k", **WHO)


def said(text: str, at: float) -> AgentStatus:
    return AgentStatus(job="j", at=at, text=text, **WHO)


def test_a_step_is_told_by_what_came_of_it_not_by_every_word_on_the_way(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(
        capsys,
        JobStarted(job="j", at=0, context="c", agent="orchestrator", url="u"),
        update("submitted", 0),
        update("working", 1),
        said("reading", 1),
        update("completed", 2),
        said("did it", 2),
        StepEnded(job="j", at=3, step="s1", outcome="accepted", reason="tests pass"),
    )
    assert [line.split() for line in lines[1:]] == [
        ["coder", "·", "s1", "did", "it"],
        ["s1", "accepted:", "tests", "pass"],
    ]


def test_what_is_said_on_the_way_shows_that_a_long_step_lives(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(
        capsys,
        JobStarted(job="j", at=0, context="c", agent="orchestrator", url="u"),
        update("working", 1),
        *(said(f"at {second} s", second) for second in range(1, 13)),
    )
    assert [line.split("  ")[-1].strip() for line in lines[1:]] == ["at 5 s", "at 10 s"]


def test_a_state_that_is_not_the_usual_course_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, update("working", 0), update("failed", 1), said("no space left", 1))
    assert [line.split("  ")[-1].strip() for line in lines] == ["failed", "no space left"]


@pytest.mark.parametrize(
    ("verified", "changed", "summary", "line"),
    [
        (True, True, "2 steps delivered", "verified after 3.0 s: 2 steps delivered"),
        (True, False, "nothing to change", "nothing to change after 3.0 s"),
        (False, True, "1 step delivered. x", "NOT verified (failed) after 3.0 s: 1 step delivered. x"),
    ],
)
def test_the_verdict_is_said_once(
    capsys: pytest.CaptureFixture[str], verified: bool, changed: bool, summary: str, line: str
) -> None:
    state = "completed" if verified else "failed"
    end = JobEnded(job="j", at=3, state=state, verified=verified, changed=changed, summary=summary)
    lines = printed(capsys, JobStarted(job="j", at=0, context="c", agent="o", url="u"), end)
    assert lines[-1].split(None, 1)[1] == line


def test_what_to_type_is_complete_and_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my results" / "j1"
    folder.mkdir(parents=True)
    (folder / "change.patch").write_text("diff --git a/x b/x\n")
    monkeypatch.chdir(tmp_path)
    end = JobEnded(
        job="j", at=3, state="completed", verified=True, summary="", out_dir=str(folder),
        files=("change.bundle", "change.patch"),
    )  # fmt: skip
    assert [command for _, command in commands(end)] == [
        "git apply 'my results/j1'/change.patch",
        "git fetch 'my results/j1'/change.bundle parley && git merge FETCH_HEAD",
    ]
    assert list(commands(replace(end, changed=False))) == []


def test_notes_of_the_plan_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    note = "modern-syntax: not planned, because Python 3.6 is supported"
    step = PlannedStep(id="s1", title="t", skill="edit-code", needs=())
    plan = PlanReady(job="j", at=0, steps=(step,), summary="1 step", engine="rules", notes=(note,))
    assert any(note in line for line in printed(capsys, plan))
    with Screen("a task", svg=tmp_path / "run.svg", quiet=True) as screen:
        for event in (*story("x")[:1], plan, *story("x")[2:]):
            screen.take(event)
    assert note in (tmp_path / "run.svg").read_text().replace("&#160;", " ")


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
