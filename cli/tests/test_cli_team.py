"""The first whole job: `parley run` on the sample repository with the real team, rules and all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parley_cli import local, platform
from parley_cli.client import Outcome, Parley
from parley_cli.events import Event, JobEnded, StepAgain, StepUpdate
from parley_cli.home import Home

ROOT = Path(__file__).parents[2]
PARLEY = str(Path(sys.executable).with_name("parley"))
TASK = "Modernise the code, fix lint and sort imports"

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home.at(tmp_path_factory.mktemp("team") / "home")
    local.up(home)
    yield home
    local.down(home)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    subprocess.run([ROOT / "examples/sample-repo.sh", tmp_path / "sample"], check=True, capture_output=True)
    return tmp_path / "sample"


def passes_its_tests(repo: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    environment = {**os.environ, "PYTHONPATH": str(repo), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=repo, env=environment, capture_output=True).returncode == 0


def test_the_first_job_ends_with_a_verified_patch(home: Home, sample: Path, tmp_path: Path) -> None:
    command = [PARLEY, "--home", home.root, "run", TASK, "--repo", sample, "--out", "out", "--svg", "run.svg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    subprocess.run(["git", "apply", folder / "change.patch"], cwd=sample, check=True)
    assert passes_its_tests(sample)
    # The import that only looks unused registers the carriers: the loop has put it back, and says so.
    assert "from parcelkit.carriers import express, standard" in (sample / "parcelkit/quotes.py").read_text()
    assert "import sys" not in (sample / "parcelkit/models.py").read_text()
    assert "quotes.py" in (folder / "report.md").read_text()
    assert 'tests="28"' in (folder / "junit.xml").read_text()
    assert "verified" in (tmp_path / "run.svg").read_text()
    trace = subprocess.run(
        [PARLEY, "--home", home.root, "task", "show", "last", "--trace"], capture_output=True, text=True
    ).stdout
    for agent in ("planner", "coder", "reviewer", "tester"):
        assert f"{agent} 0." in trace


async def test_a_killed_orchestrator_goes_on_and_the_client_sees_no_gap(
    home: Home, sample: Path, tmp_path: Path
) -> None:
    seen: list[Event] = []
    outcome, killed = Outcome(), False
    async with Parley(home=home.root) as client:
        async for event in client.run(TASK, repo=sample, out=tmp_path / "out"):
            seen.append(event)
            outcome.take(event)
            if isinstance(event, StepUpdate) and event.role == "tester" and not killed:
                killed = True
                running = platform.running(home)
                assert running
                os.kill(running.processes["orchestrator"].pid, signal.SIGKILL)
    assert killed
    assert isinstance(seen[-1], JobEnded)
    assert seen[-1].verified, seen[-1].summary
    assert any(isinstance(event, StepAgain) and event.step == "unused" for event in seen)
    works = [e for e in seen if isinstance(e, StepUpdate)]
    children = {
        (e.step, e.role, e.round): {
            w.child for w in works if (w.step, w.role, w.round) == (e.step, e.role, e.round)
        }
        for e in works
    }
    assert all(len(ids) == 1 for ids in children.values()), "a finished child was begun again"
    assert next(step for step in outcome.result.steps if step.id == "unused").rounds == 2
