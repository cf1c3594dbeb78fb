"""Agents that fail, vanish, stall or talk nonsense: the task goes on wherever it can, and says why where it cannot."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from a2a.server.tasks import BasePushNotificationSender, InMemoryPushNotificationConfigStore
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidParamsError
from orchestrator_kit import (
    Behaviour,
    Call,
    CallFaults,
    Scene,
    a_scene,
    append_own_file,
    codes,
    deliver_change,
    message,
    plan_of,
    plans,
    sample,
    until,
)
from starlette.responses import PlainTextResponse

from parley_agents.artifacts import PLAN, SKILL_EDIT, SKILL_PLAN, SKILL_REVIEW, SKILL_TEST, Plan
from parley_agents.snapshot import Snapshot

pytestmark = pytest.mark.processes

ONE = plan_of(("a", []))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with a_scene() as scene:
        yield scene


@pytest.fixture
async def taken(tmp_path: Path) -> Snapshot:
    return await sample(tmp_path)


async def staffed(scene: Scene, *, without: str) -> None:
    """A team of which one is still to be added."""
    await scene.team(ONE)
    scene.cards[:] = [one for one in scene.cards if one.name != without]


async def test_an_overloaded_agent_is_asked_again_after_the_time_it_asked_for(
    scene: Scene, taken: Snapshot
) -> None:
    times: list[float] = []

    def busy(method: str, number: int) -> PlainTextResponse | None:
        times.append(time.monotonic())
        return PlainTextResponse("busy", 503, {"retry-after": "1"}) if number <= 2 else None

    await staffed(scene, without="planner")
    await scene.add("busy-planner", SKILL_PLAN, plans(ONE), wrap=CallFaults(before=busy))
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert len(times) >= 3
    assert times[1] - times[0] >= 1.0
    assert len(scene.agents["busy-planner"].calls) == 1


async def test_an_agent_whose_task_fails_twice_is_asked_a_third_time(scene: Scene, taken: Snapshot) -> None:
    async def behave(call: Call) -> None:
        if call.number > 2:
            return await codes(append_own_file)(call)
        await call.start()
        await call.updater.failed(call.words("the disk is full"))

    await scene.team(ONE)
    scene.agents["coder"].behaviour = behave
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert sum("the disk is full" in words for words in seen.own_words) == 2
    assert len({call.message_id for call in scene.agents["coder"].calls}) == 3


async def test_another_agent_with_the_skill_takes_over_from_one_that_is_gone(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(ONE)
    gone = pb.AgentCard()
    gone.CopyFrom(scene.cards[1])
    gone.name = "a-gone-coder"
    gone.supported_interfaces[0].url = "http://127.0.0.1:9/a2a/jsonrpc"
    scene.cards.append(gone)
    scene.health["a-gone-coder"] = "up"
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert any("a-gone-coder cannot be reached" in words for words in seen.own_words)


async def test_an_agent_known_to_be_down_is_asked_last(scene: Scene, taken: Snapshot) -> None:
    await scene.team(ONE)
    await scene.add("a-coder-that-is-down", SKILL_EDIT, codes(append_own_file), health="down")
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert not scene.agents["a-coder-that-is-down"].calls


async def test_an_agent_that_keeps_failing_is_left_alone_by_the_next_tasks(
    scene: Scene, taken: Snapshot
) -> None:
    down = CallFaults(before=lambda method, number: PlainTextResponse("no", 503))
    scene.settings["orchestrator_circuit_failures"] = 2
    await scene.team(ONE)
    await scene.add("a-broken-coder", SKILL_EDIT, codes(append_own_file), wrap=down)
    client = await scene.orchestrator()

    first = await client.run(taken)
    calls = len(down.seen)
    second = await client.run(taken, text="again")

    assert (first.state, second.state) == ("COMPLETED", "COMPLETED")
    assert calls == 2
    assert len(down.seen) == calls


async def test_an_agent_that_takes_the_message_and_says_nothing_is_given_up(
    scene: Scene, taken: Snapshot
) -> None:
    async def mute(call: Call) -> None:
        await asyncio.sleep(30)

    scene.settings |= {"orchestrator_answer": 0.5, "orchestrator_tries": 1}
    await scene.team(ONE)
    await scene.add("a-mute-coder", SKILL_EDIT, mute)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert any("a-mute-coder took the message and said nothing" in words for words in seen.own_words)


async def test_an_agent_that_never_finishes_is_cancelled_when_its_time_is_over(
    scene: Scene, taken: Snapshot
) -> None:
    async def endless(call: Call) -> None:
        await call.start()
        await asyncio.sleep(60)

    await scene.team(ONE)
    await scene.add("a-slow-coder", SKILL_EDIT, endless)
    seen = await (await scene.orchestrator()).run(taken, options={"step_seconds": 2})

    assert seen.state == "COMPLETED", seen.text
    assert len(scene.agents["a-slow-coder"].cancelled) == 1
    assert any("took longer than the 2 s it had" in words for words in seen.own_words)


async def test_the_time_of_the_task_bounds_it_and_what_is_ready_is_still_checked(
    scene: Scene, taken: Snapshot
) -> None:
    async def behave(call: Call) -> None:
        if call.request.step.id == "a":
            return await codes(append_own_file)(call)
        await call.start()
        await asyncio.sleep(60)

    await scene.team(plan_of(("a", []), ("b", [])))
    scene.agents["coder"].behaviour = behave
    started = time.monotonic()
    seen = await (await scene.orchestrator()).run(taken, options={"seconds": 8})

    assert time.monotonic() - started < 20
    assert seen.state == "COMPLETED", seen.text
    assert "+a = 2" in seen.artifacts["change.patch"]
    assert "`b` (taken back)" in seen.artifacts["report.md"]


@pytest.mark.parametrize("cut_after", [0, 1, 2])
async def test_a_stream_that_breaks_is_taken_up_again_and_nothing_is_done_twice(
    scene: Scene, taken: Snapshot, cut_after: int
) -> None:
    faults = CallFaults(cut_after=cut_after, cuts=1)

    async def slowly(call: Call) -> None:
        await call.start()
        await call.say("reading")
        await call.say("editing")
        await asyncio.sleep(1.0)
        await deliver_change(call, append_own_file(call.request))

    await staffed(scene, without="coder")
    await scene.add("flaky-coder", SKILL_EDIT, slowly, wrap=faults)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    if cut_after:  # cut before anything was said, the agent does not know that it was asked already
        assert len(scene.agents["flaky-coder"].calls) == 1
        assert "SubscribeToTask" in faults.seen
    states = [one["state"] for one in seen.delegations() if one["role"] == "coder"]
    assert states[-1] == "TASK_STATE_COMPLETED"


async def test_an_agent_whose_streams_keep_breaking_is_polled(scene: Scene, taken: Snapshot) -> None:
    faults = CallFaults(cut_after=1, cuts=99)

    async def slowly(call: Call) -> None:
        await call.start()
        await call.say("editing")
        await asyncio.sleep(3.0)
        await deliver_change(call, append_own_file(call.request))

    await staffed(scene, without="coder")
    await scene.add("flaky-coder", SKILL_EDIT, slowly, wrap=faults)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert len(scene.agents["flaky-coder"].calls) == 1
    assert faults.seen.count("GetTask") >= 3


async def test_a_child_without_a_stream_rings_when_it_is_done(scene: Scene, taken: Snapshot) -> None:
    async def slowly(call: Call) -> None:
        await call.start()
        await asyncio.sleep(1.5)
        await deliver_change(call, append_own_file(call.request))

    faults = CallFaults()
    configs = InMemoryPushNotificationConfigStore()
    http = await scene.stack.enter_async_context(httpx.AsyncClient())
    scene.settings["orchestrator_poll"] = 600.0
    await staffed(scene, without="coder")
    await scene.add(
        "pushing-coder", SKILL_EDIT, slowly, streaming=False, push=True, wrap=faults,
        push_config_store=configs, push_sender=BasePushNotificationSender(http, configs),
    )  # fmt: skip
    client = await scene.orchestrator()

    seen = await client.run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert "CreateTaskPushNotificationConfig" in faults.seen
    assert faults.seen.count("GetTask") <= 4  # polling would wait for ten minutes


async def test_a_webhook_call_without_a_token_of_ours_changes_nothing(scene: Scene, taken: Snapshot) -> None:
    await scene.team(ONE)
    client = await scene.orchestrator()
    async with httpx.AsyncClient() as http:
        url = client.base_url + "/agent/push/children"
        answer = await http.post(url, json={"task": {}}, headers={"x-a2a-notification-token": "guess"})
        huge = await http.post(url, content=b"x" * (33 * 1024 * 1024))

    assert answer.status_code == 204
    assert huge.status_code == 413


async def test_an_agent_that_can_neither_stream_nor_push_is_polled(scene: Scene, taken: Snapshot) -> None:
    faults = CallFaults()

    async def slowly(call: Call) -> None:
        await call.start()
        await asyncio.sleep(0.7)
        await deliver_change(call, append_own_file(call.request))

    await staffed(scene, without="coder")
    await scene.add("plain-coder", SKILL_EDIT, slowly, streaming=False, wrap=faults)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert set(faults.seen) == {"SendMessage", "GetTask"}


async def test_an_agent_may_answer_with_a_plain_message(scene: Scene, taken: Snapshot) -> None:
    async def reply(call: Call) -> None:
        part = pb.Part(text=ONE.model_dump_json(), media_type=PLAN)
        await call.queue.enqueue_event(pb.Message(message_id="r", role=pb.ROLE_AGENT, parts=[part]))

    await staffed(scene, without="planner")
    await scene.add("terse-planner", SKILL_PLAN, reply)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text


CIRCLE = Plan.model_validate(
    {
        "goal": "g",
        "engine": "e",
        "steps": [
            {"id": "a", "title": "", "skill": SKILL_EDIT, "instructions": "", "needs": ["b"]},
            {"id": "b", "title": "", "skill": SKILL_EDIT, "instructions": "", "needs": ["a"]},
        ],
    }
)


async def test_a_plan_that_cannot_be_followed_is_refused_and_asked_of_another_planner(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(ONE)
    await scene.add("a-confused-planner", SKILL_PLAN, plans(CIRCLE))
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert any("steps a, b wait for each other in a circle" in words for words in seen.own_words)
    assert len(scene.agents["a-confused-planner"].calls) == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (plans(CIRCLE), "wait for each other in a circle"),
        (codes(append_own_file), "it made no application/vnd.parley.plan+json"),
    ],
)
async def test_without_a_usable_plan_the_task_fails_and_says_what_was_wrong(
    scene: Scene, taken: Snapshot, behaviour: Behaviour, reason: str
) -> None:
    await staffed(scene, without="planner")
    await scene.add("bad-planner", SKILL_PLAN, behaviour)
    seen = await (await scene.orchestrator()).run(taken)

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("FAILED", False)
    assert reason in seen.text
    assert len(scene.agents["bad-planner"].calls) == 1


@pytest.mark.parametrize(("role", "skill"), [("planner", SKILL_PLAN), ("coder", SKILL_EDIT)])
async def test_the_task_fails_when_nobody_can_plan_or_edit(
    scene: Scene, taken: Snapshot, role: str, skill: str
) -> None:
    await staffed(scene, without=role)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "FAILED"
    assert f"no agent with the skill '{skill}' is registered" in seen.text


async def test_a_change_that_is_not_on_the_base_that_was_asked_for_is_refused(
    scene: Scene, taken: Snapshot
) -> None:
    async def cheat(call: Call) -> None:
        request = call.request
        await call.start()
        assert request.base
        made = {"step": "a", "base": "0" * 40, "commit": "1" * 40, "title": "", "summary": "", "engine": "x"}
        await call.updater.add_artifact(
            [pb.Part(text=json.dumps(made), media_type="application/vnd.parley.change+json")]
        )
        await call.updater.complete()

    await scene.team(ONE)
    scene.agents["coder"].behaviour = cheat
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "FAILED"
    assert "the change is on top of 000000000000" in seen.text


async def test_a_message_that_asks_for_nothing_makes_no_task(scene: Scene, taken: Snapshot) -> None:
    await scene.team(ONE)
    client = await scene.orchestrator()

    with pytest.raises(InvalidParamsError, match="say in a text part"):
        await client.send(message(taken, text=" "))
    with pytest.raises(InvalidParamsError, match=r"options\.rounds"):
        await client.send(message(taken, options={"rounds": 0}))


async def test_cancelling_cancels_every_running_child(scene: Scene, taken: Snapshot) -> None:
    async def endless(call: Call) -> None:
        await call.start()
        await asyncio.sleep(60)

    await scene.team(plan_of(("a", []), ("b", [])))
    scene.agents["coder"].behaviour = endless
    client = await scene.orchestrator()
    watching = asyncio.create_task(client.run(taken))
    coder = scene.agents["coder"]
    await until(lambda: len(coder.calls) == 2, "both steps run")
    task_id = scene.agents["planner"].calls[0].reference_task_ids[0]

    async def known() -> bool:
        return len(await client.children(task_id)) == 3

    await until(known, "the planner and both coders are known")
    cancelled = await client.client.cancel_task(pb.CancelTaskRequest(id=task_id))
    seen = await watching

    assert cancelled.status.state == pb.TASK_STATE_CANCELED
    assert seen.state == "CANCELED"
    assert len(coder.cancelled) == 2


async def test_children_without_an_end_are_cancelled_when_the_task_fails(
    scene: Scene, taken: Snapshot
) -> None:
    async def endless(call: Call) -> None:
        await call.start()
        await asyncio.sleep(60)

    plan = plan_of(("a", []), ("b", []))
    plan.steps[0].skill = "slow-work"
    await scene.add("planner", SKILL_PLAN, plans(plan))
    await scene.add("slow", "slow-work", endless)
    for skill in (SKILL_REVIEW, SKILL_TEST):
        await scene.add(skill, skill, endless)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "FAILED"
    assert f"no agent with the skill '{SKILL_EDIT}'" in seen.text
    assert len(scene.agents["slow"].cancelled) == 1
