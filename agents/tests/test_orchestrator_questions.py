"""What a child or the orchestrator asks goes up to the client, and the answer goes down to who asked."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict
from orchestrator_kit import (
    Call,
    Scene,
    a_scene,
    append_own_file,
    bundle_part,
    codes,
    deliver_change,
    plan_of,
    sample,
)

from parley_agents.artifacts import StepRequest
from parley_agents.snapshot import Snapshot


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with a_scene() as scene:
        yield scene


@pytest.fixture
async def taken(tmp_path: Path) -> Snapshot:
    return await sample(tmp_path)


def text(words: str) -> pb.Part:
    return pb.Part(text=words)


def asks_first(state: int = pb.TASK_STATE_INPUT_REQUIRED):  # type: ignore[no-untyped-def]
    """A coder that will not begin before it was answered, and writes the answer into its file."""

    async def behave(call: Call) -> None:
        assert call.context.message
        if call.context.current_task is None:
            await call.start()
            await call.updater.update_status(state, call.words("which number?"))
            return
        answer = call.context.get_user_input()
        assert call.context.current_task
        name = call.request.step.id
        call.context.message.parts.extend(
            part for part in call.context.current_task.history[0].parts if part.filename
        )
        await deliver_change(call, {f"{name}.py": f"{name} = {answer}\n"})

    return behave


@pytest.mark.parametrize("state", [pb.TASK_STATE_INPUT_REQUIRED, pb.TASK_STATE_AUTH_REQUIRED])
async def test_a_childs_question_is_asked_of_the_client_and_answered_to_the_child(
    scene: Scene, taken: Snapshot, state: int
) -> None:
    await scene.team(plan_of(("a", [])))
    scene.agents["coder"].behaviour = asks_first(state)
    client = await scene.orchestrator()

    asked = await client.run(taken)
    assert asked.task.status.state == state
    assert "coder asks about a: which number?" in asked.text
    question = asked.metadata["parley.dev/question"]
    assert (question["asker"]["agent"], question["asker"]["step"]) == ("coder", "a")

    seen = await client.answer(asked, text("42"))
    assert seen.state == "COMPLETED", seen.text
    assert "+a = 42" in seen.artifacts["change.patch"]
    assert len(scene.agents["planner"].calls) == 1
    assert len({call.task_id for call in scene.agents["coder"].calls}) == 1


async def test_nothing_is_asked_while_other_steps_can_go_on_and_questions_come_one_by_one(
    scene: Scene, taken: Snapshot
) -> None:
    async def behave(call: Call) -> None:
        await (codes(append_own_file) if call.request.step.id == "b" else asks_first())(call)

    await scene.team(plan_of(("a", []), ("b", []), ("c", [])))
    scene.agents["coder"].behaviour = behave
    client = await scene.orchestrator()

    first = await client.run(taken)
    assert len(scene.agents["coder"].calls) == 3
    assert any(one["step"] == "b" and one["role"] == "tester" for one in first.delegations())
    second = await client.answer(first, text("10"))
    assert second.state == "INPUT_REQUIRED"
    seen = await client.answer(second, text("30"))

    assert seen.state == "COMPLETED", seen.text
    for line in ("+a = 10", "+b = 2", "+c = 30"):
        assert line in seen.artifacts["change.patch"]
    assert len(scene.agents["coder"].calls) == 5


async def test_a_task_without_a_repository_asks_for_it_and_goes_on_when_it_comes(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", [])))
    client = await scene.orchestrator()

    asked = await client.run(None)
    assert asked.state == "INPUT_REQUIRED"
    assert "I need the repository to work on" in asked.text
    again = await client.answer(asked, text("here you are"))
    assert again.state == "INPUT_REQUIRED"
    seen = await client.answer(again, bundle_part(taken.commit, taken.bundle))

    assert seen.state == "COMPLETED", seen.text


async def test_an_approved_change_is_delivered_and_was_there_to_be_looked_at_before(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", [])))
    client = await scene.orchestrator()

    asked = await client.run(taken, options={"approve": True})
    assert asked.state == "INPUT_REQUIRED"
    assert asked.metadata["parley.dev/question"]["id"].startswith("approve.")
    assert asked.metadata["parley.dev/question"]["asker"] == {}
    assert "+a = 2" in asked.artifacts["change.patch"]
    unclear = await client.answer(asked, text("hm, what is this?"))
    assert unclear.state == "INPUT_REQUIRED"
    seen = await client.answer(unclear, text("Approve"))

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("COMPLETED", True)
    assert {name: len(agent.calls) for name, agent in scene.agents.items()} == dict.fromkeys(scene.agents, 1)


async def test_a_rejection_with_a_reason_is_feedback_for_another_round(scene: Scene, taken: Snapshot) -> None:
    def edit(request: StepRequest) -> Mapping[str, str]:
        wishes = [one.text for one in request.feedback if one.source == "client"]
        return {"a.py": f"a = {wishes[0] if wishes else 2}\n"}

    await scene.team(plan_of(("a", [])), edit)
    client = await scene.orchestrator()

    asked = await client.run(taken, options={"approve": True})
    asked = await client.answer(asked, text("reject: 777"))
    assert "+a = 777" in asked.artifacts["change.patch"]
    part = pb.Part()
    ParseDict({"approve": True}, part.data)
    seen = await client.answer(asked, part)

    assert seen.state == "COMPLETED", seen.text
    assert len(scene.agents["planner"].calls) == 1


async def test_a_rejection_that_changes_nothing_is_answered_with_what_to_name(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", [])))
    client = await scene.orchestrator()

    asked = await client.run(taken, options={"approve": True})
    assert asked.text.startswith("1 step is ready and verified. Deliver it?")
    asked = await client.answer(asked, text("reject: not nice"))
    assert (asked.state, "Name files, rules or steps" in asked.text) == ("INPUT_REQUIRED", True)
    seen = await client.answer(asked, text("approve"))
    assert seen.state == "COMPLETED", seen.text


async def test_a_rejection_without_a_reason_ends_the_task(scene: Scene, taken: Snapshot) -> None:
    await scene.team(plan_of(("a", [])))
    client = await scene.orchestrator()
    asked = await client.run(taken, options={"approve": True})
    seen = await client.answer(asked, text("reject"))

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("CANCELED", False)


async def test_a_task_that_waits_for_its_client_can_be_cancelled_with_all_its_children(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", [])))
    scene.agents["coder"].behaviour = asks_first()
    client = await scene.orchestrator()
    asked = await client.run(taken)
    cancelled = await client.client.cancel_task(pb.CancelTaskRequest(id=asked.task.id))

    assert cancelled.status.state == pb.TASK_STATE_CANCELED
    assert len(scene.agents["coder"].cancelled) == 1
