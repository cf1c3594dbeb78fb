"""What the operator does, case by case: each begins with a version that has all new contexts, unless it says otherwise."""

from dataclasses import replace
from typing import Any

import pytest
from simulated import NAME, World, aborted, promoted, spec

from parley_operator.observed import Check, Ref, Remote
from parley_operator.plan import plan
from parley_registry.client import shifting

STEPS = [
    {"weight": 5, "pause": {"duration": "10s"}},
    {"weight": 25, "pause": {"duration": "10s"}},
    {"weight": 100},
]
ANALYSIS = {"minimumSample": 20, "rules": ["failure-rate"]}


def world(**more: Any) -> World:
    """Version one, all well."""
    made = World.of(spec("one", **more))
    made.settle(10)
    assert made.states() == {"one": "Current"}
    made.events.clear()
    return made


def canary(image: str = "two", seconds: float = 4.0, **rollout: Any) -> World:
    """Version one is current, another has had its first share for a moment."""
    policy = {"steps": STEPS, "analysis": ANALYSIS} | rollout
    made = world(replicas=2)
    made.change(spec(image, replicas=2, rollout=policy))
    made.settle(seconds)
    assert made.shares() == {"one": 95.0, image: 5.0}
    return made


def reasons(of: World) -> list[str]:
    return [reason for reason, _ in of.events]


# -- the first version


def test_a_first_version_is_current_once_its_pods_take_calls_and_its_card_is_published() -> None:
    made = World.of(spec("one", replicas=2))
    made.reconcile()
    assert made.condition("Ready") == ("False", "NotServing")
    assert not made.table.versions
    made.settle(10)
    assert made.shares() == {"one": 100.0}
    assert made.replicas("one") == 2
    assert made.status.phase == "Ready"
    assert made.condition("Ready") == ("True", "Serving")
    assert made.condition("RolledOut") == ("True", "RolledOut")


def test_a_first_version_that_does_not_start_is_said_to_be_degraded_with_its_pods_reason() -> None:
    made = World.of(spec("dead"))
    made.settle(20)
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod = {
        "metadata": {"labels": {"parley.dev/agent": NAME, "parley.dev/version": made.status.rollout.target}},
        "status": {"containerStatuses": [{"name": "agent", "state": {"waiting": waiting}}]},
    }
    told = plan(replace(made.observe(), pods=(pod,)))
    degraded = next(one for one in told.status["conditions"] if one["type"] == "Degraded")
    assert degraded["reason"] == "PodsNotStarting"
    assert "ImagePullBackOff (no such image)" in degraded["message"]
    made.tick(700)
    made.reconcile()
    assert made.condition("Progressing") == ("False", "ProgressDeadlineExceeded")


def test_a_first_version_that_is_mended_before_it_ever_served_leaves_nothing_behind() -> None:
    made = World.of(spec("dead"))
    made.settle(10)
    made.change(spec("one"))
    made.settle(40)
    assert made.shares() == {"one": 100.0}
    assert made.version("dead") == ""


# -- what makes a version


@pytest.mark.parametrize(
    "more",
    [
        {"replicas": 5},
        {"queue": {"rate": 2}},
        {"rollout": {"steps": STEPS}},
        {"security": {"network": {"agents": ["planner"]}}},
        {"autoscaling": {"maxReplicas": 3, "tasksPerReplica": 5}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_does_not_change_the_pods_makes_no_version(more: dict[str, Any]) -> None:
    made = world()
    before = dict(
        made.children[Ref("Deployment", f"{NAME}-{made.status.rollout.target}")]["spec"]["template"]
    )
    made.change(spec("one", **more))
    made.settle(10)
    assert len(made.versions) == 1
    after = made.children[Ref("Deployment", f"{NAME}-{made.status.rollout.target}")]["spec"]["template"]
    assert after == before


@pytest.mark.parametrize(
    "more",
    [
        {"env": [{"name": "A", "value": "1"}]},
        {"resources": {"limits": {"memory": "1Gi"}}},
        {"version": "0.2.0"},
        {"security": {"serviceAccount": "other"}},
        {"card": {"inline": {"description": "Other.", "skills": [{"id": "a"}]}}},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_changes_the_pods_makes_a_version(more: dict[str, Any]) -> None:
    made = world()
    made.change(spec("one", **more))
    made.reconcile()
    assert len(made.versions) == 2


def test_a_secret_that_is_referenced_makes_a_version_when_it_changes() -> None:
    made = World.of(spec("one", envFrom=[{"secret": "key"}]))
    made.secrets["key"] = "before"
    made.settle(10)
    made.secrets["key"] = "after"
    made.settle(15)
    assert len(made.versions) == 2
    assert [row.state for row in made.table.versions] == ["Current", "Drained"]


def test_a_missing_secret_is_said_and_the_last_good_version_goes_on() -> None:
    made = world()
    made.change(spec("two", envFrom=[{"secret": "key"}]))
    made.settle(20)
    assert made.condition("Accepted") == ("False", "ReferenceMissing")
    assert "Secret key" in next(one.message for one in made.status.conditions if one.type == "Accepted")
    assert made.condition("Ready") == ("True", "Serving")
    assert made.condition("RolledOut")[0] == "False"
    assert made.shares() == {"one": 100.0}
    made.secrets["key"] = "there"
    made.settle(20)
    assert made.shares() == {"two": 100.0}
    assert made.condition("Accepted")[0] == "True"


# -- steps


def test_a_canary_goes_step_by_step_and_is_current_at_the_end() -> None:
    made = canary()
    seen = [made.shares()["two"]]
    for _ in range(60):
        made.serve(100)
        made.reconcile()
        made.tick()
        if made.shares().get("two") != seen[-1]:
            seen.append(made.shares()["two"])
    assert seen == [5.0, 25.0, 100.0]
    assert made.states() == {"two": "Current", "one": "Drained"}
    assert made.replicas("one") == 0
    assert reasons(made) == ["StepReached", "StepReached", "Promoted", "RolledOut", "VersionDrained"]
    assert made.latest == made.version("two")


def test_a_canary_without_pods_gets_no_share() -> None:
    made = world()
    made.change(spec("dead", rollout={"steps": STEPS}))
    made.settle(60)
    assert made.shares() == {"one": 100.0}
    assert made.replicas("one") == 1


def test_a_step_lasts_until_there_are_enough_tasks_for_a_verdict() -> None:
    made = canary()
    made.settle(120)
    assert made.shares()["two"] == 5.0
    assert "of the 20 ended tasks" in made.status.rollout.message
    made.serve(1000)
    made.settle(5)
    assert made.shares()["two"] == 25.0


@pytest.mark.parametrize(("then", "state"), [("proceed", "Current"), ("abort", "Drained")])
def test_patience_for_a_verdict_may_end(then: str, state: str) -> None:
    made = canary(analysis=ANALYSIS | {"noVerdict": then, "patience": "20s"})
    made.settle(120)
    assert made.states()["two"] == state


def test_a_pause_without_an_end_lasts_until_it_is_resumed() -> None:
    made = world()
    steps = [{"weight": 10, "pause": {}}, {"weight": 100}]
    made.change(spec("two", rollout={"steps": steps}))
    made.settle(120)
    assert made.shares()["two"] == 10.0
    assert made.table.paused
    assert made.status.phase == "Paused"
    made.by_hand(shifting.resume)
    made.settle(10)
    assert made.shares() == {"two": 100.0}


def test_while_the_rollout_is_paused_no_share_grows() -> None:
    made = canary(analysis=None)
    made.by_hand(shifting.pause)
    made.settle(60)
    assert made.shares()["two"] == 5.0
    made.by_hand(shifting.resume)
    made.settle(30)
    assert made.shares() == {"two": 100.0}


# -- failing


def test_a_canary_that_does_worse_loses_its_share_at_once_and_is_not_tried_again() -> None:
    made = canary("bad")
    made.serve(1000)
    made.reconcile()
    assert made.shares() == {"one": 100.0}
    assert made.states()["bad"] == "Draining"
    reason, message = made.events[-1]
    assert reason == "AnalysisFailed"
    assert "failed 50 of 50" in message
    made.reconcile()
    assert made.condition("Degraded") == ("True", "AnalysisFailed")
    assert "failed 50 of 50" in next(one.message for one in made.status.conditions if one.type == "Degraded")
    made.settle(300)
    assert made.shares() == {"one": 100.0}
    assert made.replicas("bad") == 0
    assert made.condition("RolledOut") == ("False", "AnalysisFailed")


def test_a_paused_canary_that_does_worse_loses_its_share_too() -> None:
    made = canary("bad")
    made.by_hand(shifting.pause)
    made.serve(1000)
    made.reconcile()
    assert made.shares() == {"one": 100.0}


@pytest.mark.parametrize(("then", "state"), [("drain", "Draining"), ("move", "Inactive")])
def test_the_contexts_of_a_failed_canary_drain_or_move(then: str, state: str) -> None:
    made = canary("bad", drain={"onFailure": then, "deadline": "1h"})
    made.work[made.version("bad")].open = 3
    made.serve(1000)
    made.settle(5)
    assert made.states()["bad"] == state
    assert made.replicas("bad") == 2
    if then == "move":  # the hosts do that
        made.work[made.version("bad")].open = 0
        made.settle(10)
        assert made.replicas("bad") == 0
        assert made.states()["bad"] == "Inactive"


def test_an_operator_that_ends_between_taking_the_share_and_saying_so_does_not_try_again() -> None:
    made = canary("bad")
    made.serve(1000)
    writes = [what for what, _ in made.operations(plan(made.observe()))]
    made.carry_out(plan(made.observe()), most=writes.index("table") + 1)
    assert made.shares() == {"one": 100.0}
    made.settle(60)
    assert made.shares() == {"one": 100.0}
    assert made.status.rollout.phase == "Failed"
    assert "AnalysisFailed" in reasons(made)


def test_a_canary_whose_pods_die_loses_its_share_though_no_task_has_ended() -> None:
    made = canary()
    made.dead.add("two")
    made.settle(70)
    assert made.shares() == {"one": 100.0}
    assert made.status.rollout.phase == "Failed"


def test_a_canary_is_not_blamed_for_what_kills_all_pods() -> None:
    made = canary()
    made.dead |= {"one", "two"}
    made.settle(120)
    assert made.shares() == {"one": 95.0, "two": 5.0}


def test_a_query_that_is_answered_badly_ends_a_canary() -> None:
    query = {"name": "errors", "url": "http://p:9090", "query": "x", "max": 1}
    made = canary(analysis={"rules": [], "prometheus": [query]})
    seen = replace(made.observe(), checks={"errors": Check(False, "7 is above 1")})
    made.carry_out(plan(seen))
    assert made.shares() == {"one": 100.0}
    assert "errors: 7 is above 1" in made.events[-1][1]


def test_a_query_without_an_answer_is_no_verdict() -> None:
    query = {"name": "errors", "url": "http://p:9090", "query": "x", "max": 1}
    made = canary(analysis={"rules": [], "prometheus": [query]})
    made.settle(60)
    assert made.shares()["two"] == 5.0
    assert "errors: not asked yet" in made.status.rollout.message


# -- changing one's mind


def test_another_spec_in_the_middle_replaces_the_canary() -> None:
    made = canary()
    made.change(spec("three", replicas=2, rollout={"steps": STEPS}))
    made.settle(3)
    assert made.shares().get("two") is None
    made.settle(3)
    assert made.shares() == {"one": 95.0, "three": 5.0}


def test_going_back_to_the_current_spec_ends_the_canary() -> None:
    made = canary()
    made.change(spec("one", replicas=2, rollout={"steps": STEPS}))
    made.settle(20)
    assert made.states() == {"one": "Current", "two": "Drained"}
    assert made.condition("RolledOut") == ("True", "RolledOut")


def test_going_back_to_an_earlier_spec_takes_its_version_again() -> None:
    made = world()
    made.change(spec("two"))
    made.settle(20)
    first = made.version("one")
    made.change(spec("one"))
    made.settle(20)
    assert made.version("one") == first
    assert made.shares() == {"one": 100.0}
    assert len(made.versions) == 2


def test_a_retry_of_what_failed_needs_another_spec() -> None:
    made = canary("bad")
    made.serve(1000)
    made.settle(30)
    made.change(spec("bad", replicas=3, rollout={"steps": STEPS, "analysis": ANALYSIS}))
    made.settle(30)
    assert made.shares() == {"one": 100.0}
    made.change(spec("two", replicas=3, rollout={"steps": STEPS}))
    made.settle(40)
    assert made.shares() == {"two": 100.0}
    assert made.condition("Degraded")[0] == "False"


# -- by hand


def test_a_promotion_by_hand_is_followed() -> None:
    made = canary()
    made.by_hand(promoted)
    made.settle(20)
    assert made.shares() == {"two": 100.0}
    assert made.status.rollout.phase == "Done"


def test_an_abort_by_hand_is_followed_until_the_spec_changes() -> None:
    made = canary()
    made.by_hand(aborted)
    made.settle(60)
    assert made.shares() == {"one": 100.0}
    assert made.status.rollout.phase == "Aborted"
    assert made.condition("RolledOut") == ("False", "Aborted")


def test_an_undo_by_hand_brings_back_the_pods_of_the_version_before() -> None:
    made = world()
    made.change(spec("two"))
    made.settle(30)
    assert made.replicas("one") == 0
    made.by_hand(shifting.undo)
    made.settle(30)
    assert made.shares() == {"one": 100.0}
    assert made.replicas("one") == 1
    assert made.replicas("two") == 0
    assert made.status.rollout.phase == "Aborted"


# -- draining


def test_a_version_with_tasks_keeps_its_pods_until_they_have_ended() -> None:
    made = world()
    made.work[made.version("one")].open = 2
    made.change(spec("two"))
    made.settle(600, step=5)
    assert made.states() == {"two": "Current", "one": "Draining"}
    assert made.replicas("one") == 1
    made.work[made.version("one")].open = 0
    made.settle(20)
    assert made.states()["one"] == "Drained"
    assert made.replicas("one") == 0


def test_the_deadline_ends_draining_and_the_current_version_goes_on() -> None:
    made = world()
    made.work[made.version("one")].open = 2
    made.change(spec("two", rollout={"drain": {"deadline": "30s"}}))
    made.settle(25)
    assert made.replicas("one") == 1
    made.settle(30)
    assert made.replicas("one") == 0
    assert made.states() == {"two": "Current", "one": "Inactive"}
    assert reasons(made).count("DrainDeadline") == 1


def test_a_message_in_an_old_conversation_wakes_its_version() -> None:
    made = world()
    made.change(spec("two"))
    made.settle(30)
    made.work[made.version("one")].open = 1
    made.reconcile()
    assert made.replicas("one") == 1
    made.settle(30)
    assert made.replicas("one") == 1
    # Between two messages of a conversation that goes on it stays.
    for _ in range(5):
        made.work[made.version("one")].open = 0
        made.settle(3)
        assert made.replicas("one") == 1
        made.work[made.version("one")].open = 1
        made.settle(3)
        assert made.replicas("one") == 1
    made.work[made.version("one")].open = 0
    made.settle(15)
    assert made.replicas("one") == 0


def test_beyond_the_history_limit_a_version_is_retired_and_deleted_the_oldest_first() -> None:
    made = world(rollout={"historyLimit": 1})
    for image in ("two", "three", "four"):
        made.change(spec(image, rollout={"historyLimit": 1}))
        made.settle(30)
    made.settle(20)
    assert made.states() == {"four": "Current", "three": "Drained"}
    assert len(made.versions) == 2
    assert len(made.published) == 2


def test_versions_that_never_served_do_not_pile_up_before_any_serves() -> None:
    made = World.of(spec("dead"))
    for number in range(5):
        made.change(spec("dead", env=[{"name": "N", "value": str(number)}]))
        made.settle(30)
    assert not made.table.versions
    assert [one["spec"]["template"]["env"][0]["value"] for one in made.versions.values()] == ["4"]


# -- when something is away


def test_without_the_registry_no_share_changes_and_nothing_is_scaled_down() -> None:
    made = canary(analysis=None)
    made.registry_up = False
    before = made.table
    made.settle(60)
    assert made.table == before
    assert made.replicas("one") == 2
    assert made.condition("Degraded") == ("True", "RegistryUnreachable")
    assert made.condition("Ready")[0] == "True"
    made.registry_up = True
    made.settle(40)
    assert made.shares() == {"two": 100.0}


def test_without_figures_draining_waits_for_its_deadline() -> None:
    made = world()
    made.change(spec("two", rollout={"drain": {"deadline": "60s"}}))
    made.settle(5)
    for _ in range(20):
        made.carry_out(plan(replace(made.observe(), figures=None)))
        made.tick()
    assert made.states()["one"] == "Draining"


def test_a_registry_that_lost_its_tables_gets_the_last_good_version_back() -> None:
    made = world()
    made.table = replace(made.table, versions=())
    made.published.clear()
    made.settle(5)
    assert made.shares() == {"one": 100.0}


def test_an_agent_version_that_somebody_deleted_is_made_again() -> None:
    made = world()
    made._delete(Ref("AgentVersion", next(iter(made.versions))))
    made.settle(10)
    assert made.replicas("one") == 1


# -- replicas


def test_replicas_follow_the_tasks() -> None:
    scaled = {
        "autoscaling": {"minReplicas": 1, "maxReplicas": 5, "tasksPerReplica": 10, "scaleDownDelay": "60s"}
    }
    made = world(**scaled)
    made.work[made.version("one")].open = 35
    made.settle(5)
    assert made.replicas("one") == 4
    made.work[made.version("one")].open = 900
    made.settle(5)
    assert made.replicas("one") == 5
    made.work[made.version("one")].open = 0
    made.settle(50)
    assert made.replicas("one") == 5
    made.settle(20)
    assert made.replicas("one") == 1


def test_replicas_that_are_others_are_left_alone() -> None:
    made = world()
    name = f"{NAME}-{made.status.rollout.target}"
    made.children[Ref("Deployment", name)]["spec"]["replicas"] = 7
    made.settle(10)
    assert made.replicas("one") == 7
    assert all(
        "replicas" not in one["spec"] for one in plan(made.observe()).apply if one["kind"] == "Deployment"
    )


def test_an_autoscaler_of_somebody_else_goes_before_the_specs_replicas() -> None:
    made = world(replicas=2)
    name = f"{NAME}-{made.status.rollout.target}"
    made.children[Ref("Deployment", name)]["spec"]["replicas"] = 7
    seen = replace(made.observe(), scaled_by_others=frozenset({name}))
    assert plan(seen).scale == ()


def test_processor_time_is_for_an_autoscaler_which_goes_with_the_setting() -> None:
    made = world(autoscaling={"maxReplicas": 5, "cpuPercent": 80})
    made.settle(5)
    found = [ref for ref in made.children if ref.kind == "HorizontalPodAutoscaler"]
    assert len(found) == 1
    made.change(spec("one", replicas=2))
    made.settle(5)
    assert not [ref for ref in made.children if ref.kind == "HorizontalPodAutoscaler"]
    assert made.replicas("one") == 2


# -- the end


def test_a_deleted_agent_lets_its_tasks_end_then_its_pods_then_its_cards() -> None:
    made = world()
    made.now = 1_800_000_010.0
    made.work[made.version("one")].open = 1
    made.delete()
    made.agent["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:10Z"
    made.reconcile()
    assert made.replicas("one") == 1
    assert made.status.phase == "Deleting"
    made.work[made.version("one")].open = 0
    made.reconcile()
    assert made.replicas("one") == 0
    assert not made.gone
    made.tick()
    made.reconcile()
    assert made.gone
    assert not made.published


@pytest.mark.parametrize("away", ["tasks", "registry"])
def test_the_end_of_an_agent_is_bounded_in_time(away: str) -> None:
    made = world()
    if away == "registry":
        made.registry_up = False
    made.work[made.version("one")].open = 1
    made.agent["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:10Z"
    made.delete()
    made.settle(400)
    assert made.gone


def test_nothing_is_written_when_nothing_has_changed() -> None:
    made = world()
    made.settle(5)
    made.writes.clear()
    made.settle(60)
    assert {what.split()[0] for what in made.writes} == {"apply"}


# -- elsewhere


def test_a_remote_agent_is_registered_and_as_ready_as_the_registry_says() -> None:
    made = World.of({"runtime": "remote", "remote": {"url": "https://other.example"}})
    assert plan(made.observe()).register == "https://other.example"
    made.carry_out(plan(made.observe()))
    assert made.condition("Ready") == ("False", "NotPublished")
    card = "https://other.example/.well-known/agent-card.json"
    there = Remote("2.1.0", "up", "https://other.example/a2a", card)
    made.carry_out(plan(replace(made.observe(), remote=there)))
    assert made.condition("Ready") == ("True", "Published")
    assert made.status.current_version == "2.1.0"
    made.carry_out(plan(replace(made.observe(), remote=replace(there, health="down"))))
    assert made.condition("Ready") == ("False", "Down")
    assert not [ref for ref in made.children if ref.kind == "Deployment"]


def test_a_spec_that_cannot_be_read_is_a_condition_and_stops_nothing() -> None:
    made = world()
    made.change(spec("one", replicas="many"))
    made.settle(5)
    assert made.condition("Accepted") == ("False", "SpecInvalid")
    assert "spec.replicas" in next(one.message for one in made.status.conditions if one.type == "Accepted")
    assert made.condition("Ready") == ("True", "Serving")
    assert made.replicas("one") == 1


def test_a_drained_version_whose_card_was_deleted_does_not_hold_up_a_rollout() -> None:
    made = world()
    made.change(spec("two"))
    made.settle(30)
    made.published.discard(made.version("one"))
    made.change(spec("three"))
    made.settle(30)
    assert made.shares() == {"three": 100.0}


def test_a_missing_platform_secret_is_said_as_what_it_is() -> None:
    made = World.of(spec("one"))
    made.secrets.clear()
    made.reconcile()
    assert made.condition("Accepted") == ("False", "PlatformMissing")
    assert made.condition("Ready") == ("False", "PlatformMissing")


def test_a_version_that_cannot_be_read_is_not_taken_for_gone() -> None:
    made = canary(analysis=None)
    for one in made.versions.values():
        if one["spec"]["version"] == made.table.current:
            one["spec"]["hash"] = 7
    made.reconcile()
    assert made.table.current != made.version("two")
