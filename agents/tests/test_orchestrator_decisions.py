"""The orchestrator's judgement, as tables of cases without any agent."""

from typing import Any

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from parley_agents.artifacts import SKILL_EDIT, Plan, TestReport, Verdict
from parley_agents.orchestrator.circuit import Circuits, pause, retry_after
from parley_agents.orchestrator.discovery import Agent, instances, ranked
from parley_agents.orchestrator.follow import View, mark
from parley_agents.orchestrator.order import takes_text
from parley_agents.orchestrator.plan import base_of, faults, order, ready
from parley_agents.orchestrator.questions import approval
from parley_agents.orchestrator.verdict import Judgement, Kept, after_round, doubts, suspect
from parley_registry.client import Entry, Instance


def a_plan(needs: dict[str, list[str]], skill: str = SKILL_EDIT) -> Plan:
    steps = [
        {"id": one, "title": one, "skill": skill, "instructions": one, "needs": after}
        for one, after in needs.items()
    ]
    return Plan.model_validate({"goal": "g", "engine": "e", "steps": steps})


@pytest.mark.parametrize(
    ("needs", "fault"),
    [
        ({"a": [], "b": ["a"]}, ""),
        ({"a": ["a"]}, "steps a wait for each other in a circle"),
        ({"a": ["b"], "b": ["c"], "c": ["a"], "d": []}, "steps a, b, c wait for each other in a circle"),
        ({"a": ["ghost"]}, "step 'a' needs 'ghost', which is not a step"),
        ({f"s{n}": [] for n in range(65)}, "it has 65 steps, more than the 64 allowed"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_named_with_its_fault(
    needs: dict[str, list[str]], fault: str
) -> None:
    assert "; ".join(faults(a_plan(needs))) == fault


@pytest.mark.parametrize("skill", ["", "plan-change", "deliver-change"])
def test_a_step_may_not_ask_for_a_plan_or_for_another_orchestration(skill: str) -> None:
    assert "which no step may ask for" in faults(a_plan({"a": []}, skill))[0]


def test_a_step_id_may_be_used_once() -> None:
    plan = a_plan({"a": []})
    assert faults(plan.model_copy(update={"steps": plan.steps * 2})) == ["step id 'a' is used more than once"]


@pytest.mark.parametrize(
    ("needs", "line"),
    [
        ({"a": [], "b": [], "c": []}, "abc"),
        ({"a": ["c"], "b": [], "c": []}, "bca"),
        ({"d": ["b", "c"], "c": ["a"], "b": ["a"], "a": []}, "acbd"),
    ],
)
def test_changes_are_integrated_in_an_order_that_follows_from_the_plan_alone(
    needs: dict[str, list[str]], line: str
) -> None:
    assert "".join(order(a_plan(needs))) == line


@given(st.data())
def test_in_every_acyclic_plan_each_step_starts_after_what_it_needs_and_all_get_done(
    data: st.DataObject,
) -> None:
    names = [f"s{n}" for n in range(data.draw(st.integers(0, 12)))]
    needs = {
        one: data.draw(st.lists(st.sampled_from(names[:n]), unique=True)) if n else []
        for n, one in enumerate(names)
    }
    shuffled = dict(data.draw(st.permutations(list(needs.items()))))
    plan = a_plan(shuffled)
    assert faults(plan) == []
    line, started = order(plan), set[str]()
    for integrated in range(len(line) + 1):
        for step in ready(plan, integrated, started):
            assert set(step.needs) <= set(line[:integrated])
            assert base_of(step, line) <= integrated
            started.add(step.id)
        assert started >= set(line[: integrated + 1])
    assert started == set(names)


APPROVED = Verdict(verdict="approve", summary="fine")
OBJECTED = Verdict(verdict="request-changes", summary="no", findings=1)


def ran(verdict: Any, summary: str = "s") -> TestReport:
    return TestReport(verdict=verdict, summary=summary, sandbox="none")


@pytest.mark.parametrize(
    ("judgement", "number", "left", "repeated", "what"),
    [
        (Judgement(APPROVED, tests=ran("passed")), 1, 10, False, "accept"),
        (Judgement(APPROVED, tests=ran("no-tests")), 1, 10, False, "accept"),
        (Judgement(APPROVED, tests=ran("could-not-run")), 1, 10, False, "accept"),
        (Judgement(APPROVED, tests=ran("broken")), 1, 10, False, "again"),
        (Judgement(OBJECTED, tests=ran("passed")), 1, 10, False, "again"),
        (Judgement(OBJECTED, tests=ran("passed")), 3, 10, False, "drop"),
        (Judgement(OBJECTED, tests=ran("passed")), 1, -1, False, "drop"),
        (Judgement(OBJECTED, tests=ran("passed")), 1, 10, True, "drop"),
        (Judgement(APPROVED, tests=ran("passed")), 3, -1, True, "accept"),
        (Judgement(missing=("no reviewer",)), 1, 10, False, "accept"),
    ],
)
def test_a_round_ends_in_accept_again_or_drop(
    judgement: Judgement, number: int, left: float, repeated: bool, what: str
) -> None:
    decision = after_round(judgement, number=number, rounds=3, seconds_left=left, repeated=repeated)
    assert decision.what == what
    assert decision.reason


@pytest.mark.parametrize(
    ("judgement", "allow", "words"),
    [
        (Judgement(APPROVED, tests=ran("passed")), False, ""),
        (Judgement(APPROVED, tests=ran("no-tests")), False, "has no tests"),
        (Judgement(APPROVED, tests=ran("no-tests")), True, ""),
        (Judgement(APPROVED, tests=ran("could-not-run", "no sandbox")), True, "no sandbox"),
        (Judgement(OBJECTED, tests=ran("passed")), True, "review: no"),
        (Judgement(APPROVED, missing=("there was no test run",)), True, "there was no test run"),
    ],
)
def test_only_what_tests_and_review_stand_behind_is_verified(
    judgement: Judgement, allow: bool, words: str
) -> None:
    found = doubts(judgement, allow_untested=allow)
    assert bool(found) == bool(words)
    assert words in "; ".join(found)


def result(path: str) -> dict[str, Any]:
    return {"locations": [{"physicalLocation": {"artifactLocation": {"uri": path}}}]}


KEPT = [
    Kept("one", frozenset({"a.py"})),
    Kept("two", frozenset({"b.py"})),
    Kept("three", frozenset({"c.py"})),
]


@pytest.mark.parametrize(
    ("judgement", "step"),
    [
        (Judgement(APPROVED, tests=ran("broken")), "three"),
        (Judgement(OBJECTED, (result("a.py"),)), "one"),
        (Judgement(OBJECTED, (result("a.py"), result("b.py"))), "two"),
        (Judgement(OBJECTED, (result("elsewhere.py"),)), "three"),
        (Judgement(OBJECTED, ({"locations": "nonsense"},)), "three"),
        (Judgement(APPROVED, (result("a.py"),), ran("broken")), "three"),
    ],
)
def test_the_last_step_that_touches_what_is_objected_to_is_the_suspect(
    judgement: Judgement, step: str
) -> None:
    assert suspect(judgement, KEPT) == step


@pytest.mark.parametrize(
    ("words", "what", "reason"),
    [
        ("approve", "approve", ""),
        ("Approved.", "approve", ""),
        ("LGTM!", "approve", ""),
        ("yes", "approve", ""),
        ("reject", "reject", ""),
        ("Reject: keep the old name", "reject", "keep the old name"),
        ("no, keep\nboth", "reject", "keep\nboth"),
        ("no – too much", "reject", "too much"),
        ("nothing of that", "unclear", ""),
        ("yes but not this file", "unclear", ""),
        ("", "unclear", ""),
    ],
)
def test_an_approval_is_read_from_words(words: str, what: str, reason: str) -> None:
    found = approval([pb.Part(text=words)])
    assert (found.what, found.reason) == (what, reason)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({"approve": True}, "approve"),
        ({"approve": False, "reason": "r"}, "reject"),
        ({"approve": "x"}, "unclear"),
    ],
)
def test_an_approval_is_read_from_data(data: dict[str, Any], what: str) -> None:
    part = pb.Part()
    ParseDict(data, part.data)
    assert approval([part]).what == what


def test_pauses_grow_up_to_a_limit_and_honour_what_was_asked_for() -> None:
    assert [pause(n, chance=lambda: 1.0) for n in range(1, 9)] == [0.25, 0.5, 1, 2, 4, 8, 15, 15]
    assert pause(1, chance=lambda: 0.0) == 0.125
    assert pause(1, 7.0) == 7.0
    assert pause(1, 1e9) == 120.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0", 0.0), ("", None), (None, None), ("soon", None), ("-1", None)],
)
def test_retry_after_is_read_in_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", now=lambda: 90.0) == 10.0
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", now=lambda: 900.0) == 0.0


def test_a_circuit_opens_after_failures_in_a_row_and_lets_one_try_through_later() -> None:
    now = 0.0
    circuits = Circuits(clock=lambda: now, threshold=3, cooldown=30)
    for _ in range(2):
        circuits.failed("u")
    circuits.worked("u")
    for _ in range(3):
        assert circuits.state("u") == "closed"
        circuits.failed("u")
    assert circuits.state("u") == "open"
    now = 31.0
    assert circuits.state("u") == "half-open"
    circuits.failed("u")
    assert circuits.state("u") == "open"
    now = 62.0
    circuits.worked("u")
    assert circuits.state("u") == "closed"
    assert circuits.state("another") == "closed"


def an_agent(name: str, *, health: str = "up", latest: bool = True, score: float = 1.0) -> Agent:
    return Agent(name, "1", f"http://{name}", health, latest, score, False, pb.AgentCard(name=name))


def test_agents_are_asked_by_tries_circuit_health_version_and_fit() -> None:
    circuits = Circuits(threshold=1)
    circuits.failed("http://broken")
    agents = [
        an_agent("tried"),
        an_agent("broken"),
        an_agent("down", health="down"),
        an_agent("unknown", health="unknown"),
        an_agent("old", latest=False),
        an_agent("poor", score=0.5),
        an_agent("best", score=2.0),
    ]
    names = [one.name for one in ranked(agents, circuits, ["http://tried"])]
    assert names == ["best", "poor", "old", "unknown", "down", "broken", "tried"]


def test_each_instance_of_an_agent_is_a_place_to_ask() -> None:
    card = pb.AgentCard(
        name="n", supported_interfaces=[pb.AgentInterface(url=u) for u in ("http://x/1", "http://x/2")]
    )
    places = (Instance("1", "http://x/1"), Instance("2", "http://y/1"))
    found = instances(Entry("public", "n", "1", True, "up", places, False, card, 0.0), 1.0)
    assert [one.url for one in found] == ["http://x/1", "http://y/1"]
    assert [i.url for i in found[0].card.supported_interfaces] == ["http://x/1", "http://x/2"]
    assert [i.url for i in found[1].card.supported_interfaces] == ["http://y/1"]
    behind = (Instance("1", "http://10.0.0.1/1"),)
    shared = instances(Entry("public", "n", "1", True, "up", behind, False, card, 0.0), 1.0)
    assert [one.url for one in shared] == ["http://x/1"]


def test_a_question_that_was_answered_is_not_taken_for_a_new_one() -> None:
    asked = pb.Task(id="t", status=pb.TaskStatus(state=pb.TASK_STATE_INPUT_REQUIRED))
    asked.status.timestamp.seconds = 5
    view = View("t", answered=mark(asked))
    view.see(asked)
    assert not view.settled
    asked.status.timestamp.seconds = 6
    view.see(asked)
    assert view.settled


@pytest.mark.parametrize(
    ("default", "own", "takes"),
    [
        ([], [], True),
        (["text/plain"], [], True),
        (["application/json"], [], False),
        (["application/json"], ["text/*"], True),
        (["text/plain"], ["application/json"], False),
    ],
)
def test_words_are_sent_only_to_an_agent_that_takes_them(
    default: list[str], own: list[str], takes: bool
) -> None:
    skill = pb.AgentSkill(id="s", input_modes=own)
    assert takes_text(pb.AgentCard(default_input_modes=default, skills=[skill]), "s") is takes
