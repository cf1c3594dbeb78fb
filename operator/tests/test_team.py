"""A whole team from a few lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from parley_operator.crds import ROOT
from parley_operator.observed import Ref
from parley_operator.resources.agent import AgentSpec
from parley_operator.resources.team import ROLES
from parley_operator.team import ObservedTeam, plan_team

META = {"name": "acme", "namespace": "work", "uid": "t1", "generation": 1, "resourceVersion": "1"}


def team(**told: Any) -> dict[str, Any]:
    return {"metadata": META, "spec": told}


def agents(**told: Any) -> dict[str, dict[str, Any]]:
    """The Agents that are made, by role."""
    found = plan_team(ObservedTeam(0.0, team(**told))).apply
    return {one["metadata"]["name"].partition("-")[2]: dict(one) for one in found}


def test_an_empty_spec_is_a_whole_team() -> None:
    found = agents()
    assert tuple(found) == ROLES
    for role, one in found.items():
        spec = AgentSpec.read(one["spec"])
        assert spec.executor == f"parley_agents.{role}:{role.capitalize()}"
        assert spec.card is not None
        assert one["metadata"]["finalizers"]


def test_the_orchestrator_may_call_all_and_all_may_push_to_it() -> None:
    found = agents()
    named = {role: one["spec"]["security"]["network"]["agents"] for role, one in found.items()}
    assert named["orchestrator"] == ["acme-planner", "acme-coder", "acme-reviewer", "acme-tester"]
    assert named["coder"] == ["acme-orchestrator"]


def test_a_member_may_be_different() -> None:
    found = agents(
        replicas=2,
        image="all:1",
        env=[{"name": "A", "value": "1"}],
        members={
            "coder": {
                "image": "mine:2",
                "autoscaling": {"maxReplicas": 8, "tasksPerReplica": 4},
                "env": [{"name": "B", "value": "2"}],
                "queue": {"rate": 1},
            }
        },
    )
    coder, tester = found["coder"]["spec"], found["tester"]["spec"]
    assert coder["image"] == "mine:2"
    assert "replicas" not in coder
    assert coder["autoscaling"]["maxReplicas"] == 8
    assert [one["name"] for one in coder["env"]] == ["A", "B"]
    assert coder["queue"] == {"rate": 1.0}
    assert (tester["image"], tester["replicas"]) == ("all:1", 2)
    assert "queue" not in tester


def test_an_agent_that_is_no_part_of_the_team_any_more_goes() -> None:
    left = {"acme-critic": {"metadata": {"name": "acme-critic", "generation": 1}, "spec": {}}}
    assert plan_team(ObservedTeam(0.0, team(), left)).delete == (Ref("Agent", "acme-critic"),)


def ready(holds: bool) -> dict[str, Any]:
    condition = {
        "type": "Ready",
        "status": str(holds),
        "reason": "Serving",
        "message": "",
        "lastTransitionTime": "2027-01-01T00:00:00Z",
    }
    return {
        "metadata": {"generation": 1},
        "status": {
            "observedGeneration": 1,
            "phase": "Ready" if holds else "Pending",
            "conditions": [condition],
        },
    }


@pytest.mark.parametrize(("up", "phase"), [(5, "Ready"), (3, "Pending")])
def test_a_team_is_ready_when_all_of_it_are(up: int, phase: str) -> None:
    found = {f"acme-{role}": ready(number < up) for number, role in enumerate(ROLES)}
    status = plan_team(ObservedTeam(0.0, team(), found)).status
    assert status is not None
    assert status["phase"] == phase
    assert status["ready"] == f"{up}/5"
    (condition,) = [one for one in status["conditions"] if one["type"] == "Ready"]
    assert condition["status"] == str(up == 5)
    if up < 5:
        assert "acme-reviewer" in condition["message"]


def test_a_status_that_is_so_already_is_not_written() -> None:
    status = plan_team(ObservedTeam(0.0, team())).status
    again = team() | {"status": status}
    assert plan_team(ObservedTeam(5.0, again)).status is None


@pytest.mark.parametrize("role", ROLES)
def test_a_card_here_is_the_one_of_the_agent(role: str) -> None:
    here = ROOT / "operator" / "parley_operator" / "cards" / f"{role}.json"
    there = Path(ROOT / "agents" / "parley_agents" / role / "card.json")
    assert json.loads(here.read_bytes()) == json.loads(there.read_bytes()), "copy it from agents/"
