"""What a home remembers of tasks."""

from dataclasses import replace
from pathlib import Path

import pytest

from parley_cli import jobs
from parley_cli.home import Home
from parley_cli.jobs import Jobs, NoSuchTask


@pytest.fixture
def known(tmp_path: Path) -> Jobs:
    return Jobs(Home.at(tmp_path / "home"))


def test_a_task_is_found_by_its_id_by_its_beginning_and_as_the_last(known: Jobs) -> None:
    first = replace(jobs.new("aaaa-1", "c1", "orchestrator", "one"), created=1.0)
    second = replace(jobs.new("aaab-2", "c2", "hello", "two"), created=2.0)
    known.remember(first)
    known.remember(second, snapshot=b"bundle")
    assert known.find("aaaa-1") == first
    assert known.find("aaab") == second
    assert known.find("last") == second
    assert known.find("zzzz") is None
    with pytest.raises(NoSuchTask, match="2 tasks begin"):
        known.find("aaa")
    assert known.bundle(second, "snapshot") == b"bundle"
    assert known.bundle(first, "snapshot") == b""


def test_the_last_context_is_that_of_the_same_agent(known: Jobs) -> None:
    known.remember(replace(jobs.new("a", "c1", "orchestrator", ""), created=1.0))
    known.remember(replace(jobs.new("b", "c2", "hello", ""), created=2.0))
    assert known.last_in("orchestrator", "last").context == "c1"
    assert known.last_in("hello", "c2").task == "b"
    with pytest.raises(NoSuchTask):
        known.last_in("hello", "c1")
    with pytest.raises(NoSuchTask):
        Jobs(Home.at(known._home.root / "other")).find("last")


@pytest.mark.parametrize("task", ["../../escape", "a/b", "\x00", "." * 5, "t" * 1000])
def test_an_id_that_an_agent_chose_never_leads_outside(known: Jobs, tmp_path: Path, task: str) -> None:
    known.remember(jobs.new(task, "c", "http://127.0.0.1:1", "text"))
    found = known.find(task)
    assert found
    assert found.task == task
    assert {path.parent for path in tmp_path.rglob("*.json")} == {tmp_path / "home" / "jobs"}


def test_a_damaged_file_is_as_if_it_was_not_there(known: Jobs) -> None:
    known.remember(jobs.new("good", "c", "a", ""))
    (known._home.jobs / "bad.json").write_text("{")
    (known._home.jobs / "worse.json").write_text('{"task": "worse"}')
    assert [job.task for job in known.all()] == ["good"]
    assert known.find("bad") is None


def test_bundles_of_old_tasks_are_let_go(known: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 2)
    for number in range(8):
        known.remember(jobs.new(f"t{number}", "c", "a", ""), snapshot=b"x")
    assert len(list(known._home.jobs.glob("*.bundle"))) == 4
    assert len(list(known.all())) == 8
