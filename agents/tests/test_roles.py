"""Planner, coder, reviewer and tester as A2A agents on the plain a2a-sdk: what they say, make and refuse."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientConfig, ClientFactory
from a2a.helpers import get_message_text
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import Parse, ParseDict
from google.protobuf.struct_pb2 import Value
from orchestrator_kit import agent_server
from repositories import repository

import parley_agents
from parley_agents.artifacts import (
    CHANGE,
    DIFF,
    GIT_BUNDLE,
    JUNIT,
    PLAN,
    REQUEST,
    SARIF,
    TESTS,
    Change,
    Commit,
    Plan,
    PlanStep,
    StepRequest,
    TestReport,
)
from parley_agents.bundles import data_of
from parley_agents.coder import Coder
from parley_agents.planner import Planner
from parley_agents.reviewer import Reviewer
from parley_agents.role import RoleExecutor
from parley_agents.settings import AgentSettings
from parley_agents.snapshot import Snapshot, snapshot
from parley_agents.tester import executor as tester_module
from parley_core.errors import ConfigurationError

FILES = {
    "calc.py": "import os\n\n\ndef double(x):\n    return 2 * x\n",
    "tests/test_calc.py": (
        "import unittest\nfrom calc import double\n\n\nclass TestDouble(unittest.TestCase):\n"
        "    def test_double(self):\n        self.assertEqual(double(2), 4)\n"
    ),
    "Makefile": "test:\n\tpython -m unittest\n",
}
ROLES: tuple[type[RoleExecutor], ...] = (Planner, Coder, Reviewer, tester_module.Tester)


def card_of(role: type[RoleExecutor]) -> pb.AgentCard:
    folder = Path(parley_agents.__file__).parent / role.__name__.lower()
    return Parse((folder / "card.json").read_text(), pb.AgentCard())


@contextlib.asynccontextmanager
async def served(role: type[RoleExecutor], tmp_path: Path) -> AsyncIterator[Client]:
    executor = role(AgentSettings(home=tmp_path / "home"))
    async with agent_server(executor, card_of(role)) as about, httpx.AsyncClient(timeout=60) as http:
        yield ClientFactory(ClientConfig(streaming=True, httpx_client=http)).create(about)


def request_of(*parts: pb.Part) -> pb.SendMessageRequest:
    return pb.SendMessageRequest(
        message=pb.Message(message_id=str(time.time_ns()), role=pb.ROLE_USER, parts=parts)
    )


def asking(request: StepRequest, bundles: dict[str, bytes]) -> pb.SendMessageRequest:
    data = pb.Part(data=ParseDict(request.model_dump(mode="json"), Value()), media_type=REQUEST)
    files = [
        pb.Part(raw=raw, media_type=GIT_BUNDLE, filename=f"{commit}.bundle")
        for commit, raw in bundles.items()
    ]
    return request_of(data, *files)


async def answer(client: Client, request: pb.SendMessageRequest) -> tuple[list[str], pb.Task]:
    """What was said on the way, and the task at its end."""
    task, said = pb.Task(), []
    async for event in client.send_message(request):
        kind = event.WhichOneof("payload")
        if kind == "task":
            assert not said, "the task comes first"
            task.CopyFrom(event.task)
        elif kind == "status_update":
            task.status.CopyFrom(event.status_update.status)
            said.append(get_message_text(event.status_update.status.message))
        elif kind == "artifact_update":
            task.artifacts.append(event.artifact_update.artifact)
    return said, task


def parts(task: pb.Task) -> dict[str, pb.Part]:
    return {part.media_type: part for artifact in task.artifacts for part in artifact.parts}


@pytest.fixture
async def taken(tmp_path: Path) -> Snapshot:
    return await snapshot(repository(tmp_path / "repo", FILES))


async def test_what_one_makes_the_next_uses_as_it_is(tmp_path: Path, taken: Snapshot) -> None:
    base, bundles = Commit(commit=taken.commit), {taken.commit: taken.bundle}
    ask = PlanStep(id="plan", title="Plan", skill="plan-change", instructions="")
    async with served(Planner, tmp_path) as planner:
        said, task = await answer(
            planner, asking(StepRequest(goal="Remove unused imports", step=ask, base=base), bundles)
        )
    assert task.status.state == pb.TASK_STATE_COMPLETED, said
    assert any("Python files" in text for text in said)
    plan = Plan.model_validate(data_of(parts(task)[PLAN]))
    (step,) = plan.steps
    async with served(Coder, tmp_path) as coder:
        said, task = await answer(coder, asking(StepRequest(goal=plan.goal, step=step, base=base), bundles))
    assert task.status.state == pb.TASK_STATE_COMPLETED, said
    made = parts(task)
    change = Change.model_validate(data_of(made[CHANGE]))
    assert "-import os" in made[DIFF].raw.decode()
    assert made[GIT_BUNDLE].filename == f"{change.commit}.bundle"
    judged = StepRequest(
        goal=plan.goal, step=step, base=base, change=Commit(commit=change.commit, prerequisite=taken.commit)
    )
    bundles = {change.commit: made[GIT_BUNDLE].raw, **bundles}
    async with served(Reviewer, tmp_path) as reviewer:
        said, task = await answer(reviewer, asking(judged, bundles))
    assert task.status.state == pb.TASK_STATE_COMPLETED, said
    sarif: Any = data_of(parts(task)[SARIF])
    assert sarif["runs"][0]["properties"]["parley"]["verdict"] == "approve"
    async with served(tester_module.Tester, tmp_path) as tester:
        said, task = await answer(tester, asking(judged, bundles))
    assert task.status.state == pb.TASK_STATE_COMPLETED, said
    report = TestReport.model_validate(data_of(parts(task)[TESTS]))
    assert (report.verdict, report.passed) == ("passed", 1)
    assert b"test_double" in parts(task)[JUNIT].raw
    assert any("running the tests on the change" in text for text in said)


async def test_a_client_that_only_knows_plain_a2a_asks_in_words(tmp_path: Path, taken: Snapshot) -> None:
    bundle = pb.Part(raw=taken.bundle, filename=f"{taken.commit}.bundle")
    async with served(Planner, tmp_path) as planner:
        _, task = await answer(planner, request_of(pb.Part(text="Remove unused imports"), bundle))
    assert [step.id for step in Plan.model_validate(data_of(parts(task)[PLAN])).steps] == ["unused"]


async def test_a_goal_out_of_reach_is_rejected_with_what_is_in_reach(tmp_path: Path, taken: Snapshot) -> None:
    bundle = pb.Part(raw=taken.bundle, filename=f"{taken.commit}.bundle")
    async with served(Planner, tmp_path) as planner:
        said, task = await answer(planner, request_of(pb.Part(text="Add a login page"), bundle))
    assert task.status.state == pb.TASK_STATE_REJECTED
    assert "without a model" in said[-1]


def _data(value: object) -> pb.Part:
    return pb.Part(data=ParseDict(value, Value()), media_type=REQUEST)


BAD: dict[str, tuple[Sequence[pb.Part], str]] = {
    "words alone": ([pb.Part(text="Fix lint")], "attach the repository"),
    "not an object": ([_data([1])], "cannot be used"),
    "missing fields": ([_data({"goal": "x"})], "step"),
    "bad commit": ([_data({"goal": "x", "step": {"id": "a", "title": "", "skill": "", "instructions": ""}, "base": {"commit": "HEAD"}})], "base.commit"),
    "no bundle": ([_data({"goal": "lint", "step": {"id": "a", "title": "", "skill": "", "instructions": ""}, "base": {"commit": "0" * 40}})], "was not sent along|no `change`"),
    "unnamed bundle": ([pb.Part(text="x"), pb.Part(raw=b"x", media_type=GIT_BUNDLE)], "must be named"),
    "not a bundle": ([pb.Part(text="Fix lint"), pb.Part(raw=b"x", filename="0" * 40 + ".bundle")], "not a git bundle|no `change`|no `base`"),
    "inside url": ([pb.Part(text="Fix lint"), pb.Part(url="http://169.254.169.254/", filename="0" * 40 + ".bundle")], "metadata"),
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
async def test_bad_requests_end_with_a_reason_and_never_a_traceback(
    tmp_path: Path, role: type[RoleExecutor]
) -> None:
    async with served(role, tmp_path) as client:
        for name, (sent, expected) in BAD.items():
            said, task = await answer(client, request_of(*sent))
            assert task.status.state in (pb.TASK_STATE_REJECTED, pb.TASK_STATE_FAILED), (name, said)
            assert re.search(expected, said[-1]), (name, said)
            assert "Traceback" not in said[-1]


async def test_cancelling_ends_the_task_and_what_it_started(tmp_path: Path) -> None:
    slow = FILES | {"calc.py": "import time\ntime.sleep(61.5)\n"}
    taken = await snapshot(repository(tmp_path / "slow", slow))
    base = Commit(commit=taken.commit)
    step = PlanStep(id="test", title="Test", skill="run-tests", instructions="")
    request = asking(StepRequest(goal="", step=step, base=base, change=base), {taken.commit: taken.bundle})
    async with served(tester_module.Tester, tmp_path) as client:
        stream = client.send_message(request)
        task_id = ""
        async for event in stream:
            task_id = task_id or event.task.id
            if "on the base" in get_message_text(event.status_update.status.message):
                break
        await wait_for(lambda: running(str(tmp_path / "home")), True)
        task = await client.cancel_task(pb.CancelTaskRequest(id=task_id))
        assert task.status.state == pb.TASK_STATE_CANCELED
        await wait_for(lambda: running(str(tmp_path / "home")), False)


def running(word: str) -> bool:
    """Whether any process has a word in its command line."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word in entry.read_bytes().decode("utf-8", "replace"):
                return True
    return False


async def wait_for(condition: Any, wanted: bool) -> None:
    deadline = time.monotonic() + 20
    while condition() is not wanted:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def test_another_engine_is_a_clear_error() -> None:
    for role in ROLES:
        with pytest.raises(ConfigurationError, match=r"PARLEY_ENGINE='magic': the \w+ knows only rules"):
            role(AgentSettings(engine="magic"))


def test_the_environment_is_read_and_a_bad_value_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_TEST_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match="PARLEY_TEST_TIMEOUT"):
        Planner()


@pytest.mark.parametrize("role", ROLES)
def test_a_card_names_the_skill_its_executor_has(role: type[RoleExecutor]) -> None:
    about = card_of(role)
    assert [skill.id for skill in about.skills] == [role.skill]
    assert about.name == role.__name__.lower()
    assert about.capabilities.streaming
