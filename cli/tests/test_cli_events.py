"""Reading a task's stream: the contract of the orchestrator's events, turned into typed ones."""

import json
from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from parley_cli.board import Board
from parley_cli.events import (
    AgentStatus,
    ArtifactReady,
    Event,
    InputRequired,
    JobEnded,
    JobStarted,
    PlanReady,
    StepAgain,
    StepEnded,
    StepUpdate,
)
from parley_cli.story import Story

PLAN = {"goal": "g", "engine": "rules", "summary": "two steps", "notes": ["no format"], "steps": [
    {"id": "unused", "title": "Unused imports", "skill": "edit-code", "instructions": "", "needs": []},
    {"id": "idioms", "title": "Idioms", "skill": "edit-code", "instructions": "", "needs": ["unused"]},
]}  # fmt: skip


def status(text: str = "", state: str = "WORKING", at: int = 1, **metadata: Any) -> pb.StreamResponse:
    told = {"taskId": "t1", "contextId": "c1", "metadata": metadata}
    told["status"] = {"state": f"TASK_STATE_{state}", "timestamp": f"2026-01-01T00:00:{at:02d}Z"}
    if text:
        told["status"]["message"] = {
            "messageId": f"m{at}{text}",
            "role": "ROLE_AGENT",
            "parts": [{"text": text}],
        }
    return ParseDict({"statusUpdate": told}, pb.StreamResponse())


def child(state: str = "WORKING", text: str = "", at: int = 1, **more: Any) -> pb.StreamResponse:
    who = {"step": "unused", "role": "coder", "agent": "coder", "version": "1.0.0", "skill": "edit-code",
           "round": 1, "state": f"TASK_STATE_{state}", "childTaskId": "k1", "childContextId": "kc"} | more  # fmt: skip
    return status(text, at=at, **{"parley.dev/delegation": who, "parley.dev/generation": at})


def plan_artifact() -> pb.StreamResponse:
    part = {"text": json.dumps(PLAN), "mediaType": "application/vnd.parley.plan+json"}
    artifact = {"artifactId": "plan.json", "name": "plan.json", "parts": [part]}
    return ParseDict(
        {"artifactUpdate": {"taskId": "t1", "contextId": "c1", "artifact": artifact}}, pb.StreamResponse()
    )


def told(*responses: pb.StreamResponse) -> list[Event]:
    story = Story("orchestrator", "http://127.0.0.1:1/a2a/jsonrpc")
    return [event for response in responses for event in story.take(response)]


def test_the_first_event_of_any_kind_starts_the_job() -> None:
    for first in (status("hello"), plan_artifact(), child()):
        started = told(first)[0]
        assert isinstance(started, JobStarted)
        assert (started.job, started.context, started.agent) == ("t1", "c1", "orchestrator")
    assert sum(isinstance(event, JobStarted) for event in told(status("a"), status("b"))) == 1


def test_a_child_is_told_of_once_for_each_state_and_for_each_word() -> None:
    events = told(
        child("SUBMITTED"), child("WORKING", "reading"), child("WORKING", "writing"), child("COMPLETED")
    )
    assert [e.state for e in events if isinstance(e, StepUpdate)] == ["submitted", "working", "completed"]
    said = [e for e in events if isinstance(e, AgentStatus)]
    assert [(e.step, e.role, e.text) for e in said] == [
        ("unused", "coder", "reading"),
        ("unused", "coder", "writing"),
    ]


def test_the_plan_is_told_when_it_is_new() -> None:
    plans = [e for e in told(plan_artifact(), plan_artifact()) if isinstance(e, PlanReady)]
    assert len(plans) == 1
    assert [(s.id, s.needs) for s in plans[0].steps] == [("unused", ()), ("idioms", ("unused",))]
    assert plans[0].notes == ("no format",)


def test_a_plan_without_steps_is_told_with_its_notes() -> None:
    part = {"text": json.dumps(PLAN | {"steps": []}), "mediaType": "application/vnd.parley.plan+json"}
    update = {"taskId": "t1", "artifact": {"artifactId": "plan.json", "parts": [part]}}
    (plan,) = [
        e
        for e in told(ParseDict({"artifactUpdate": update}, pb.StreamResponse()))
        if isinstance(e, PlanReady)
    ]
    assert (plan.steps, plan.notes) == ((), ("no format",))


def settled(step: object, outcome: object, reason: str = "") -> pb.StreamResponse:
    return status("in words", **{"parley.dev/step": {"step": step, "outcome": outcome, "reason": reason}})


def test_what_became_of_a_step_is_an_event_of_its_own() -> None:
    events = told(
        plan_artifact(),
        settled("unused", "again", "6 broken"),
        settled("unused", "accepted", "tests pass"),
        settled("idioms", "dropped", "taken back"),
        settled("elsewhere", "accepted"),
        settled("idioms", "exploded"),
        settled(["idioms"], "accepted"),
    )
    ended = [e for e in events if isinstance(e, StepEnded)]
    assert [(e.step, e.outcome, e.reason) for e in ended] == [
        ("unused", "accepted", "tests pass"),
        ("idioms", "dropped", "taken back"),
    ]
    assert [(e.step, e.reason) for e in events if isinstance(e, StepAgain)] == [("unused", "6 broken")]
    assert [e.text for e in events if isinstance(e, AgentStatus)] == ["in words"] * 3


def test_a_question_is_asked_once_and_another_one_again() -> None:
    ask = status("Deliver it?", "INPUT_REQUIRED", at=3)
    again = status("Really?", "INPUT_REQUIRED", at=5)
    asked = [e.question for e in told(ask, ask, status("going on"), again) if isinstance(e, InputRequired)]
    assert asked == ["Deliver it?", "Really?"]


def test_verified_is_what_the_last_status_says_and_nothing_else() -> None:
    for metadata, verified in (
        ({"parley.dev/verified": True}, True),
        ({}, False),
        ({"parley.dev/verified": "yes"}, False),
    ):
        (ended,) = [e for e in told(status("done", "COMPLETED", **metadata)) if isinstance(e, JobEnded)]
        assert (ended.state, ended.verified, ended.summary) == ("completed", verified, "done")


def test_a_task_read_whole_tells_what_its_stream_would_have() -> None:
    who = {
        "step": "unused",
        "role": "coder",
        "agent": "coder",
        "round": 2,
        "state": "TASK_STATE_COMPLETED",
        "childTaskId": "k1",
    }
    task = {
        "id": "t1", "contextId": "c1",
        "metadata": {"parley.dev/children": {"a": who}, "parley.dev/verified": True, "parley.dev/changed": False},
        "status": {"state": "TASK_STATE_COMPLETED"},
        "artifacts": [{"artifactId": "change.patch", "name": "change.patch", "parts": [{"text": "x", "mediaType": "text/x-diff"}]}],
    }  # fmt: skip
    events = told(ParseDict({"task": task}, pb.StreamResponse()))
    assert [type(e) for e in events] == [JobStarted, StepUpdate, ArtifactReady, JobEnded]
    assert isinstance(events[1], StepUpdate)
    assert events[1].round == 2
    assert isinstance(events[3], JobEnded)
    assert (events[3].verified, events[3].changed) == (True, False)


def test_nonsense_in_metadata_is_not_believed_and_breaks_nothing() -> None:
    for who in ("x", 7, {}, {"step": ""}, {"step": "s", "round": "many"}, {"step": ["s"], "round": -1}):
        told(status("words", **{"parley.dev/delegation": who, "parley.dev/generation": "x"}))
    bad = ParseDict(
        {"artifactUpdate": {"artifact": {"artifactId": "p", "parts": [
            {"text": "{nope", "mediaType": "application/vnd.parley.plan+json"}]}}}, pb.StreamResponse()
    )  # fmt: skip
    assert not [e for e in told(bad) if isinstance(e, PlanReady)]


def test_events_are_json_with_their_name() -> None:
    for event in told(plan_artifact(), child("WORKING", "hm"), status("done", "FAILED")):
        line = json.loads(json.dumps(event.to_json()))
        assert line["event"] == event.kind
        assert line["job"] == "t1"


def test_the_board_shows_steps_in_the_plans_order_with_their_rounds() -> None:
    board = Board("task")
    plan = child("COMPLETED", at=1, step="plan", role="planner", agent="planner", childTaskId="p")
    for event in told(
        plan,
        plan_artifact(),
        child("WORKING", at=2),
        child("COMPLETED", at=4),
        child("WORKING", at=5, round=2, childTaskId="k2"),
        child("WORKING", at=6, step="final", role="tester", agent="tester", childTaskId="f"),
    ):
        board.take(event)
    assert [step.id for step in board.steps] == ["plan", "unused", "idioms", "final"]
    step = list(board.steps)[1]
    assert step.rounds == 2
    assert [work.round for work in step.active] == [2]
    assert next(iter(step.works.values())).seconds(now=0) == 2.0
    assert list(board.steps)[2].waiting
