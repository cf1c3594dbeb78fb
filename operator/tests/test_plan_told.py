"""What a person is told: columns that are empty when there is nothing to say, and events, once for each cause."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from simulated import NAME, World, spec

from parley_operator.plan import Plan, plan

STEPS = [{"weight": 50, "pause": {"duration": "20s"}}, {"weight": 100}]


def serving(**more: Any) -> World:
    """Version one, all well."""
    made = World.of(spec("one", **more))
    made.settle(10)
    assert made.states() == {"one": "Current"}
    made.events.clear()
    return made


def message(of: World, kind: str) -> str:
    return next(one.message for one in of.status.conditions if one.type == kind)


# -- columns


def test_without_a_canary_its_columns_are_empty() -> None:
    made = serving()
    assert not {"canaryVersion", "canaryWeight"} & set(made.agent["status"])
    made.change(spec("two", rollout={"steps": STEPS}))
    made.settle(10)
    assert made.agent["status"]["canaryWeight"] == 50
    made.settle(60)
    assert made.shares() == {"two": 100.0}
    assert not {"canaryVersion", "canaryWeight"} & set(made.agent["status"])


# -- no pods wanted


def test_a_new_version_of_an_agent_scaled_to_zero_says_that_it_waits_for_replicas_and_goes_on_with_them() -> (
    None
):
    made = serving(replicas=1)
    made.change(spec("two", replicas=0))
    made.settle(1000, step=20)
    assert made.condition("Progressing") == ("False", "ScaledToZero")
    assert made.condition("RolledOut") == ("False", "ScaledToZero")
    assert made.condition("Ready") == ("False", "ScaledToZero")
    assert made.condition("Degraded")[0] == "False"
    for kind in ("Progressing", "RolledOut", "Ready"):
        assert "set spec.replicas to 1 or more" in message(made, kind)
    assert made.version("two") in message(made, "Progressing")
    made.change(spec("two", replicas=1))
    made.settle(60)
    assert made.shares() == {"two": 100.0}
    assert made.condition("RolledOut") == ("True", "RolledOut")


def test_an_agent_scaled_to_zero_stays_rolled_out() -> None:
    made = serving(replicas=1)
    made.change(spec("one", replicas=0))
    made.settle(10)
    assert made.condition("Ready") == ("False", "ScaledToZero")
    assert made.condition("RolledOut")[0] == "True"


# -- events


def test_that_a_spec_is_not_accepted_is_told_once_by_an_event_with_the_reason() -> None:
    made = serving()
    made.change(spec("one", replicas="many"))
    made.settle(30)
    [(reason, said)] = made.events
    assert reason == "SpecInvalid"
    assert "spec.replicas" in said


def test_a_missing_secret_is_told_by_an_event_and_another_one_again() -> None:
    made = serving()
    for missing in ("keys", "others"):
        made.change(spec("two", envFrom=[{"secret": missing}]))
        made.settle(20)
    assert [missing in said for (_, said), missing in zip(made.events, ("keys", "others"), strict=True)]
    assert len({reason for reason, _ in made.events}) == 1


def pods(of: World, *statuses: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    assert of.status.rollout is not None
    labels = {"parley.dev/agent": NAME, "parley.dev/version": of.status.rollout.target}
    return tuple({"metadata": {"labels": labels}, "status": one} for one in statuses)


def waiting(reason: str, said: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": said}}
    return {"containerStatuses": [{"name": "agent", "state": state}]}


def look(at: World, *statuses: Mapping[str, Any]) -> Plan:
    made = plan(replace(at.observe(), pods=pods(at, *statuses)))
    at.carry_out(made)
    at.tick()
    return made


def test_why_pods_do_not_start_is_told_once_for_each_cause_with_how_many() -> None:
    made = World.of(spec("dead", replicas=3))
    made.settle(5)
    no_image = waiting("ErrImagePull", "no such image"), waiting("ImagePullBackOff", "no such image")
    unschedulable = {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient cpu",
            }
        ]
    }
    made.events.clear()
    look(made, *no_image, unschedulable)
    assert [reason for reason, _ in made.events] == ["ImagePullBackOff", "Unschedulable"]
    assert "2 of 3 pods: container agent: " in made.events[0][1]
    assert "no such image" in made.events[0][1]
    assert "1 of 3 pods: Unschedulable: 0/3 nodes are available: 3 Insufficient cpu" in made.events[1][1]
    # The same in other words, or gone for a moment: nothing new.
    look(made, waiting("ImagePullBackOff", "back-off 40s"), unschedulable)
    look(made)
    look(made, waiting("ImagePullBackOff", "back-off 80s"))
    assert len(made.events) == 2
    look(made, waiting("CrashLoopBackOff", "back-off 10s"))
    assert [reason for reason, _ in made.events[2:]] == ["CrashLoopBackOff"]


def test_pods_that_a_quota_denies_are_told_of_with_its_figures() -> None:
    made = World.of(spec("dead"))
    made.settle(5)
    quota = "exceeded quota: small, requested: pods=1, used: pods=10, limited: pods=10"
    [deployment] = [one for ref, one in made.children.items() if ref.kind == "Deployment"]
    deployment["status"]["conditions"] = [
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": f'pods "coder-1" is forbidden: {quota}',
        }
    ]
    made.events.clear()
    look(made)
    look(made)
    [(reason, said)] = made.events
    assert reason == "FailedCreate"
    assert quota in said


def test_a_trouble_that_comes_back_after_all_pods_had_started_is_told_again() -> None:
    made = World.of(spec("one"))
    made.settle(2)
    made.dead.add("one")
    made.settle(3)
    made.events.clear()
    look(made, waiting("CrashLoopBackOff", "back-off"))
    made.dead.clear()
    made.settle(10)
    made.dead.add("one")
    made.tick()
    look(made, waiting("CrashLoopBackOff", "back-off"))
    assert [reason for reason, _ in made.events].count("CrashLoopBackOff") == 2
