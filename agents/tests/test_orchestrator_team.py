"""A whole task with a scripted team: plan, rounds, taking back, merging, delivering."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from orchestrator_kit import (
    FILES,
    Call,
    Scene,
    a_scene,
    append_own_file,
    changed_files,
    codes,
    deliver_change,
    plan_of,
    plans,
    reviews,
    runs_tests,
    sample,
    until,
)

from parley_agents.artifacts import SKILL_EDIT, SKILL_PLAN, SKILL_REVIEW, SKILL_TEST, Plan, StepRequest
from parley_agents.snapshot import Snapshot
from parley_agents.workspace import open_workspace

pytestmark = pytest.mark.processes


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with a_scene() as scene:
        yield scene


@pytest.fixture
async def taken(tmp_path: Path) -> Snapshot:
    return await sample(tmp_path)


async def test_steps_are_planned_made_judged_and_delivered_as_one_verified_patch(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", []), ("b", []), ("c", ["a"])))
    client = await scene.orchestrator()

    seen = await client.run(taken)

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("COMPLETED", True), seen.text
    assert set(seen.artifacts) == {
        "plan.json", "change.patch", "change.bundle", "report.md", "review.sarif", "junit.xml",
    }  # fmt: skip
    for name in "abc":
        assert f"+{name} = 2" in seen.artifacts["change.patch"]
    assert seen.metadata["parley.dev/changed"] is True
    assert seen.text == "3 steps delivered"
    report = seen.artifacts["report.md"]
    assert "**Result:** verified: 3 steps delivered\n" in report
    assert "`git fetch FOLDER/change.bundle parley`" in report


async def test_the_delivered_bundle_holds_what_the_patch_says_on_top_of_the_snapshot(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", []), ("b", [])))
    seen = await (await scene.orchestrator()).run(taken)

    [bundle] = [part for one in seen.task.artifacts if one.name == "change.bundle" for part in one.parts]
    commit = bundle.filename.removesuffix(".bundle")
    async with open_workspace(commit, [taken.bundle, bundle.raw]) as work:
        assert (work.path / "a.py").read_text() == "a = 2\n"
        assert await work.diff(taken.commit, commit) == seen.artifacts["change.patch"]


async def test_what_children_do_is_told_live_with_who_which_step_and_which_round(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", [])))
    seen = await (await scene.orchestrator()).run(taken)

    told = seen.delegations()
    assert {(one["step"], one["role"], one["agent"]) for one in told} == {
        ("plan", "planner", "planner"),
        ("a", "coder", "coder"),
        ("a", "reviewer", "reviewer"),
        ("a", "tester", "tester"),
    }
    assert all(one["childTaskId"] and one["childContextId"] and one["round"] == 1 for one in told)
    assert [one["state"] for one in told if one["role"] == "coder"][-1] == "TASK_STATE_COMPLETED"
    relayed = [one for one in seen.task.artifacts if "parley.dev/delegation" in one.metadata]
    assert {one.name for one in relayed} == {"plan.json", "change", "review", "tests"}
    assert not any(part.filename.endswith(".bundle") for one in relayed for part in one.parts)


async def test_children_are_told_which_task_they_work_for(scene: Scene, taken: Snapshot) -> None:
    await scene.team(plan_of(("a", [])))
    seen = await (await scene.orchestrator()).run(taken)

    for agent in scene.agents.values():
        assert [list(call.reference_task_ids) for call in agent.calls] == [[seen.task.id]]
    assert {one["agent"] for one in seen.metadata["parley.dev/children"].values()} == set(scene.agents)


async def test_independent_steps_run_side_by_side_and_dependent_ones_on_what_they_need(
    scene: Scene, taken: Snapshot
) -> None:
    began, together = [], []

    async def behave(call: Call) -> None:
        began.append(call.request.step.id)
        if call.request.step.id in "ab":
            await until(lambda: {"a", "b"} <= set(began), "a and b run at the same time")
            together.append(call.request.step.id)
        else:
            assert call.request.base
            async with open_workspace(call.request.base.commit, call.bundles) as work:
                assert (work.path / "a.py").read_text() == "a = 2\n"
        await deliver_change(call, append_own_file(call.request))

    await scene.team(plan_of(("a", []), ("b", []), ("c", ["a", "b"])))
    scene.agents["coder"].behaviour = behave
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert sorted(together) == ["a", "b"]
    assert began[2:] == ["c"]


async def test_a_refused_change_goes_back_with_feedback_until_it_is_accepted(
    scene: Scene, taken: Snapshot
) -> None:
    def edit(request: StepRequest) -> Mapping[str, str]:
        return {"a.py": f"a = {len(request.feedback)}\n" if request.feedback else "a = 'bad'\n"}

    def refuse(request: StepRequest, files: Mapping[str, str]) -> str:
        return "the value is bad" if "bad" in files["a.py"] else ""

    await scene.team(plan_of(("a", [])), edit, test=refuse, review=refuse)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert "+a = 2" in seen.artifacts["change.patch"]  # both the review and the tests had their say
    assert max(one["round"] for one in seen.delegations()) == 2
    assert "| 2 |" in seen.artifacts["report.md"]


async def test_a_step_that_stays_refused_is_taken_back_and_named_and_the_rest_is_delivered(
    scene: Scene, taken: Snapshot
) -> None:
    def edit(request: StepRequest) -> Mapping[str, str]:
        return {f"{request.step.id}.py": f"{request.step.id} = {request.round + 1}\n"}

    def refuse(request: StepRequest, files: Mapping[str, str]) -> str:
        return "b must stay 1" if files["b.py"] != "b = 1\n" else ""

    await scene.team(plan_of(("a", []), ("b", ["a"]), ("c", ["b"])), edit, test=refuse)
    seen = await (await scene.orchestrator()).run(taken, options={"rounds": 2})

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("COMPLETED", True), seen.text
    patch = seen.artifacts["change.patch"]
    assert "a.py" in patch
    assert "c.py" in patch
    assert "b.py" not in patch
    assert "`b` (taken back): not accepted in 2 rounds: b must stay 1" in seen.artifacts["report.md"]


async def test_a_coder_that_brings_the_same_refused_change_again_is_not_asked_a_third_time(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", [])), test=lambda request, files: "no")
    seen = await (await scene.orchestrator()).run(taken, options={"rounds": 9})

    assert seen.state == "FAILED"
    assert len(scene.agents["coder"].calls) == 2
    assert "nothing could be kept" in seen.text


async def test_steps_that_conflict_are_made_again_on_top_of_each_other(scene: Scene, taken: Snapshot) -> None:
    async def behave(call: Call) -> None:
        assert call.request.base
        async with open_workspace(call.request.base.commit, call.bundles) as work:
            before = (work.path / "a.py").read_text()
        await call.start()
        await deliver_change(call, {"a.py": before.rstrip("\n") + f" + {call.request.step.id}\n"})

    await scene.team(plan_of(("x", []), ("y", []), ("z", [])))
    scene.agents["coder"].behaviour = behave
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert "+a = 1 + x + y + z" in seen.artifacts["change.patch"]
    assert any("y conflicts" in words for words in seen.own_words)


async def test_changes_that_break_only_together_lose_the_suspect_one(scene: Scene, taken: Snapshot) -> None:
    def refuse(request: StepRequest, files: Mapping[str, str]) -> str:
        return "a and b together break it" if (files["a.py"], files["b.py"]) == ("a = 2\n", "b = 2\n") else ""

    await scene.team(plan_of(("a", []), ("b", []), ("c", [])), test=refuse)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.metadata["parley.dev/verified"] is True, seen.text
    patch = seen.artifacts["change.patch"]
    assert ("a.py" in patch, "b.py" in patch) == (True, False)
    assert "taken back at the final check: a and b together break it" in seen.artifacts["report.md"]


async def test_nothing_to_change_is_a_verified_empty_patch_said_plainly(
    scene: Scene, taken: Snapshot
) -> None:
    await scene.team(plan_of(("a", [])), lambda request: FILES)
    seen = await (await scene.orchestrator()).run(taken)

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("COMPLETED", True)
    assert seen.metadata["parley.dev/changed"] is False
    assert seen.artifacts["change.patch"] == ""
    assert "change.bundle" not in seen.artifacts
    assert seen.text == "nothing to change"
    assert "**Result:** nothing to change; the patch is empty\n" in seen.artifacts["report.md"]
    assert "git apply" not in seen.artifacts["report.md"]


async def test_a_plan_without_steps_is_nothing_to_do(scene: Scene, taken: Snapshot) -> None:
    await scene.team(plan_of())
    seen = await (await scene.orchestrator()).run(taken)

    assert (seen.state, seen.artifacts["change.patch"]) == ("COMPLETED", "")


@pytest.mark.parametrize(("allowed", "state"), [(False, "FAILED"), (True, "COMPLETED")])
async def test_a_repository_without_tests_is_verified_only_if_the_client_allows_it(
    scene: Scene, taken: Snapshot, allowed: bool, state: str
) -> None:
    await scene.team(plan_of(("a", [])))
    scene.agents["tester"].behaviour = runs_tests(verdict="no-tests")
    seen = await (await scene.orchestrator()).run(taken, options={"allow_untested": allowed})

    assert (seen.state, seen.metadata["parley.dev/verified"]) == (state, allowed)
    assert "+a = 2" in seen.artifacts["change.patch"]  # delivered all the same
    assert allowed or "has no tests" in seen.text


async def test_a_session_goes_on_from_what_was_delivered_before(scene: Scene, taken: Snapshot) -> None:
    await scene.team(plan_of(("a", [])))
    client = await scene.orchestrator()
    before = await client.run(taken)
    [bundle] = [part for one in before.task.artifacts if one.name == "change.bundle" for part in one.parts]
    scene.agents["planner"].behaviour = plans(plan_of(("b", [])))

    seen = await client.run(taken, text="now b", change=(bundle.filename.removesuffix(".bundle"), bundle.raw))

    assert seen.state == "COMPLETED", seen.text
    assert "+a = 2" in seen.artifacts["change.patch"]
    assert "+b = 2" in seen.artifacts["change.patch"]


async def test_a_step_with_another_skill_is_found_by_that_skill_and_may_change_nothing(
    scene: Scene, taken: Snapshot
) -> None:
    plan = Plan.model_validate(
        plan_of(("a", [])).model_dump()
        | {
            "steps": [
                *plan_of(("a", [])).model_dump()["steps"],
                {"id": "note", "title": "Note", "skill": "write-notes", "instructions": "note"},
                {"id": "dance", "title": "Dance", "skill": "dance", "instructions": "dance"},
            ]
        }
    )

    async def write_notes(call: Call) -> None:
        await call.start()
        await call.updater.add_artifact([pb_text("noted")], name="notes")
        await call.updater.complete()

    await scene.team(plan)
    await scene.add("notes", "write-notes", write_notes)
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert "no agent with the skill 'dance' is registered" in seen.artifacts["report.md"].replace("\\", "")
    assert len(scene.agents["notes"].calls) == 1


async def test_options_that_are_not_the_orchestrators_reach_every_child(
    scene: Scene, taken: Snapshot
) -> None:
    heard = []

    def spy(request: StepRequest, files: Mapping[str, str]) -> str:
        heard.append(request.options)
        return ""

    await scene.team(plan_of(("a", [])), review=spy, test=spy)
    await (await scene.orchestrator()).run(taken, options={"engine": "rules", "rounds": 2})

    assert heard == [{"engine": "rules"}] * 2


async def test_who_judges_cannot_be_had_is_delivered_but_not_verified(scene: Scene, taken: Snapshot) -> None:
    await scene.add("planner", SKILL_PLAN, plans(plan_of(("a", []))))
    await scene.add("coder", SKILL_EDIT, codes(append_own_file))
    await scene.add("tester", SKILL_TEST, runs_tests())
    seen = await (await scene.orchestrator()).run(taken)

    assert (seen.state, seen.metadata["parley.dev/verified"]) == ("FAILED", False)
    assert f"no agent with the skill '{SKILL_REVIEW}'" in seen.text
    assert "+a = 2" in seen.artifacts["change.patch"]


async def test_the_final_check_judges_the_whole_against_the_snapshot(scene: Scene, taken: Snapshot) -> None:
    pairs = []

    async def behave(call: Call) -> None:
        assert call.request.base
        assert call.request.change
        files = await changed_files(call)
        pairs.append((call.request.step.id, call.request.base.commit == taken.commit, sorted(files.values())))
        await reviews()(call)

    await scene.team(plan_of(("a", []), ("b", ["a"])))
    scene.agents["reviewer"].behaviour = behave
    await (await scene.orchestrator()).run(taken)

    assert pairs[-1] == ("final", True, ["a = 2\n", "b = 2\n", "c = 1\n"])


async def test_the_whole_may_change_tests_when_one_of_its_steps_was_let(
    scene: Scene, taken: Snapshot
) -> None:
    told = {}

    async def behave(call: Call) -> None:
        told[call.request.step.id] = call.request.step.inputs
        await reviews()(call)

    plan = plan_of(("a", []), ("b", []))
    plan.steps[0].inputs["tests"] = "writable"
    await scene.team(plan)
    scene.agents["reviewer"].behaviour = behave
    await (await scene.orchestrator()).run(taken)

    assert told == {"a": {"tests": "writable"}, "b": {}, "final": {"tests": "writable"}}


def pb_text(text: str):  # type: ignore[no-untyped-def]
    from a2a.types import a2a_pb2 as pb

    return pb.Part(text=text)


async def test_a_step_may_be_called_like_the_final_check(scene: Scene, taken: Snapshot) -> None:
    await scene.team(plan_of(("final", []), ("plan", ["final"])))
    seen = await (await scene.orchestrator()).run(taken)

    assert seen.state == "COMPLETED", seen.text
    assert "+plan = 2" in seen.artifacts["change.patch"]
    assert len(scene.agents["reviewer"].calls) == 3  # two steps and the whole
