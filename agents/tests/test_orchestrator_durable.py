"""kill -9 of the orchestrator's process: it goes on where it was, and no finished child runs again."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client.errors import A2AClientError
from a2a.types import a2a_pb2 as pb
from orchestrator_kit import (
    Call,
    CallFaults,
    OrchestratorClient,
    Scene,
    Seen,
    a_scene,
    append_own_file,
    card,
    codes,
    deliver_change,
    message,
    plan_of,
    sample,
    until,
)

from engines.ports import free_port
from parley_agents.artifacts import SKILL_DELIVER, SKILL_EDIT
from parley_agents.snapshot import Snapshot

pytestmark = pytest.mark.processes

HERE = Path(__file__).parent
ENDED = {pb.TASK_STATE_COMPLETED, pb.TASK_STATE_FAILED, pb.TASK_STATE_CANCELED}


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with a_scene(tmp_path / "agents") as scene:
        yield scene


@pytest.fixture
async def taken(tmp_path: Path) -> Snapshot:
    return await sample(tmp_path)


class Process:
    """An orchestrator process on one store, killed and started again as a test likes."""

    def __init__(self, store: Path, registry: str, http: httpx.AsyncClient) -> None:
        self.listen = f"127.0.0.1:{free_port()}"
        self._arguments = (self.listen, f"sqlite:///{store}", registry)
        self._process: asyncio.subprocess.Process | None = None
        about = card("orchestrator", SKILL_DELIVER)
        about.supported_interfaces.add(
            url=f"http://{self.listen}/a2a/jsonrpc", protocol_binding="JSONRPC", protocol_version="1.0"
        )
        self._http = http
        self.client = OrchestratorClient(about, http)

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "orchestrator_process.py"), *self._arguments
        )
        await until(self._ready, "the orchestrator's process is ready", 30)

    async def _ready(self) -> bool:
        assert self._process
        assert self._process.returncode is None, "the orchestrator's process ended"
        try:
            return (await self._http.get(f"http://{self.listen}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async def kill(self) -> None:
        assert self._process
        if self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def give(self, told: pb.Message) -> str:
        """Give a task and let go of it; its id."""
        request = pb.SendMessageRequest(message=told)
        request.configuration.return_immediately = True
        async for event in self.client.client.send_message(request):
            return event.task.id or event.status_update.task_id
        raise AssertionError("no answer")

    async def task(self, task_id: str) -> pb.Task:
        return await self.client.get(task_id)

    async def ended(self, task_id: str, seconds: float = 60) -> Seen:
        async def over() -> bool:
            try:
                return (await self.task(task_id)).status.state in ENDED
            except A2AClientError:
                return False

        await until(over, "the task ends", seconds)
        return Seen([], await self.task(task_id))

    async def trace(self, task_id: str, url: str = "") -> dict[str, Any]:
        answer = await self._http.get(f"{url or 'http://' + self.listen}/parley/v1/tasks/{task_id}/trace")
        return dict(answer.json())

    async def steps(self, task_id: str) -> dict[str, Any]:
        return {one["name"]: one for one in (await self.trace(task_id))["steps"]}


@pytest.fixture
async def process(scene: Scene, tmp_path: Path) -> AsyncIterator[Process]:
    async with httpx.AsyncClient(timeout=20) as http:
        made = Process(tmp_path / "orchestrator.db", await scene.registry(), http)
        try:
            yield made
        finally:
            await made.kill()


def runs(scene: Scene) -> Counter[tuple[str, str, int]]:
    """How often each agent ran for each step and round."""
    return Counter(one for agent in scene.agents.values() for one in agent.worked_on)


async def slowly(call: Call) -> None:
    await call.start()
    await call.say("editing")
    await asyncio.sleep(1.0)
    await deliver_change(call, append_own_file(call.request))


async def test_killed_in_the_middle_it_goes_on_and_every_child_ran_exactly_once(
    scene: Scene, taken: Snapshot, process: Process
) -> None:
    await scene.team(plan_of(("a", []), ("b", ["a"])))
    coder = scene.agents["coder"]
    coder.behaviour = slowly
    await process.start()
    task_id = await process.give(message(taken))

    await until(lambda: len(coder.calls) == 2, "the second step is being worked on", 40)
    await process.kill()
    await process.start()
    seen = await process.ended(task_id)

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("COMPLETED", True), seen.text
    assert "+b = 2" in seen.artifacts["change.patch"]
    assert set(runs(scene).values()) == {1}
    steps = await process.steps(task_id)
    assert {"child:~plan:planner:r1", "child:a:coder:r1", "child:b:tester:r1"} <= set(steps)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_again_and_again_at_any_moment_it_still_runs_every_child_exactly_once(
    scene: Scene, taken: Snapshot, process: Process, seed: int
) -> None:
    chance = random.Random(seed)
    await scene.team(plan_of(("a", []), ("b", []), ("c", ["a"])))
    scene.agents["coder"].behaviour = slowly
    await process.start()
    task_id = await process.give(message(taken))
    for _ in range(6):
        await asyncio.sleep(chance.uniform(0.1, 1.5))
        if (await process.task(task_id)).status.state in ENDED:
            break
        await process.kill()
        await process.start()
    seen = await process.ended(task_id)

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("COMPLETED", True), seen.text
    assert set(runs(scene).values()) == {1}


async def test_a_question_survives_a_kill_and_its_answer_reaches_the_child_that_asked(
    scene: Scene, taken: Snapshot, process: Process
) -> None:
    async def asks(call: Call) -> None:
        if call.context.current_task is None:
            await call.start()
            return await call.updater.requires_input(call.words("which number?"))
        answer = call.context.get_user_input()
        assert call.context.message
        first = call.context.current_task.history[0]
        call.context.message.parts.extend(part for part in first.parts if part.filename)
        await deliver_change(call, {"a.py": f"a = {answer}\n"})

    await scene.team(plan_of(("a", []), ("b", [])))

    async def behave(call: Call) -> None:
        await (asks if call.request.step.id == "a" else codes(append_own_file))(call)

    scene.agents["coder"].behaviour = behave
    await process.start()
    asked = await process.client.run(taken)
    assert asked.state == "INPUT_REQUIRED", asked.text

    await process.kill()
    await process.start()
    seen = await process.client.answer(asked, pb.Part(text="42"))

    assert seen.state == "COMPLETED", seen.text
    assert "+a = 42" in seen.artifacts["change.patch"]
    assert runs(scene) == Counter({one: 2 if one[:2] == ("coder", "a") else 1 for one in runs(scene)})


async def test_children_are_cancelled_even_when_the_orchestrator_was_killed_in_between(
    scene: Scene, taken: Snapshot, process: Process
) -> None:
    async def endless(call: Call) -> None:
        await call.start()
        await asyncio.sleep(60)

    await scene.team(plan_of(("a", []), ("b", [])))
    coder = scene.agents["coder"]
    coder.behaviour = endless
    await process.start()
    task_id = await process.give(message(taken))

    async def known() -> bool:
        return len(await process.client.children(task_id)) == 3

    await until(known, "the planner and both coders are known")
    await process.kill()
    await process.start()
    await process.client.client.cancel_task(pb.CancelTaskRequest(id=task_id))
    seen = await process.ended(task_id)

    assert seen.state == "CANCELED", seen.text
    assert len(set(coder.cancelled)) == 2


async def test_what_a_durable_child_said_while_its_stream_was_broken_is_told_all_the_same(
    scene: Scene, taken: Snapshot
) -> None:
    async def chatty(call: Call) -> None:
        await call.start()
        for number in range(20):
            await call.say(f"line {number}")
            await asyncio.sleep(0.02)
        await deliver_change(call, append_own_file(call.request))

    faults = CallFaults(cut_after=2, cut_resumed=2, cuts=2)
    await scene.team(plan_of(("a", [])))
    scene.cards[:] = [one for one in scene.cards if one.name != "coder"]
    await scene.add("chatty-coder", SKILL_EDIT, chatty, wrap=faults)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert faults.seen.count("SubscribeToTask") == 2
    said = [words for words in seen.relayed_words if words.startswith("line ")]
    assert said == [f"line {number}" for number in range(20)]


async def test_one_trace_leads_from_the_clients_call_to_every_child(
    scene: Scene, taken: Snapshot, process: Process
) -> None:
    await scene.team(plan_of(("a", [])))
    await process.start()
    seen = await process.client.run(taken)

    trace = await process.trace(seen.task.id)
    ids = {trace["work"][0]["traceparent"].split("-")[1]}
    children = [one for name, one in (await process.steps(seen.task.id)).items() if name.startswith("child:")]
    for child in children:
        there = child["result"]
        told = await process.trace(there["taskId"], there["url"].removesuffix("/a2a/jsonrpc"))
        ids.add(told["work"][0]["traceparent"].split("-")[1])
    assert len(children) == 4
    assert len(ids) == 1


async def test_cancelling_a_running_task_on_a_durable_host_ends_it_after_its_children(
    scene: Scene, taken: Snapshot, process: Process
) -> None:
    async def stubborn(call: Call) -> None:
        await call.start()
        await asyncio.sleep(60)

    await scene.team(plan_of(("a", [])))
    coder = scene.agents["coder"]
    coder.behaviour = stubborn
    coder.cancel_after = 1.0
    await process.start()
    task_id = await process.give(message(taken))

    async def known() -> bool:
        return len(await process.client.children(task_id)) == 2

    await until(known, "the coder is known")
    cancelled = await process.client.client.cancel_task(pb.CancelTaskRequest(id=task_id))

    assert cancelled.status.state == pb.TASK_STATE_CANCELED
    assert len(coder.cancelled) == 1
