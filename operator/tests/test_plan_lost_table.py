"""A registry that came back without its data in the middle of a canary: the table is written again as it was."""

from dataclasses import replace

from simulated import NAME, NAMESPACE, World, spec

from parley_registry.client import Rollout, shifting

STEPS = [
    {"weight": 5, "pause": {"duration": "10s"}},
    {"weight": 25, "pause": {"duration": "30s"}},
    {"weight": 100},
]


def canary(weight: float = 25.0) -> World:
    """Version one is current, two has its share, zero has drained."""
    made = World.of(spec("zero", replicas=2))
    made.settle(10)
    made.change(spec("one", replicas=2))
    made.settle(60)
    assert made.states() == {"one": "Current", "zero": "Drained"}
    made.change(spec("two", replicas=2, rollout={"steps": STEPS}))
    for _ in range(60):
        if made.shares().get("two") == weight:
            break
        made.settle(1)
    made.settle(3)
    assert made.shares() == {"one": 100 - weight, "two": weight}
    made.events.clear()
    return made


def lose(of: World) -> None:
    """The registry's data is gone; its hosts publish themselves again within a while."""
    of.table = Rollout(NAMESPACE, NAME)
    of.published.clear()
    of.latest = ""


def test_weights_are_as_they_were_and_the_rollout_goes_on_to_its_end() -> None:
    made = canary()
    first = made.status.rollout
    lose(made)
    made.reconcile()
    assert not made.table.versions, "nothing is published yet"
    assert made.condition("Degraded") == ("True", "TableLost")
    assert made.agent["status"]["canaryWeight"] == 25
    assert (made.replicas("one"), made.replicas("two")) == (2, 2)
    made.settle(3)
    assert made.shares() == {"one": 75.0, "two": 25.0}
    state = made.status.rollout
    assert state is not None
    assert first is not None
    assert (state.phase, state.step, state.first_step) == ("Stepping", first.step, first.first_step)
    assert [reason for reason, _ in made.events] == ["TableRestored"]
    assert "75 %" in made.events[0][1]
    assert "25 %" in made.events[0][1]
    made.settle(90)
    assert made.shares() == {"two": 100.0}
    assert made.condition("RolledOut") == ("True", "RolledOut")


def test_a_paused_canary_is_paused_again() -> None:
    made = canary()
    made.by_hand(shifting.pause)
    made.settle(5)
    lose(made)
    made.settle(60)
    assert made.shares() == {"one": 75.0, "two": 25.0}
    assert made.table.paused
    made.by_hand(shifting.resume)
    made.settle(90)
    assert made.shares() == {"two": 100.0}


def test_versions_are_waited_for_one_by_one_and_none_loses_its_pods_meanwhile() -> None:
    made = canary()
    lose(made)
    made.published.add(made.version("two"))
    made.reconcile()
    assert not made.table.versions
    assert (made.replicas("one"), made.replicas("two")) == (2, 2)
    made.published.add(made.version("one"))
    made.reconcile()
    assert made.shares() == {"one": 75.0, "two": 25.0}


def test_a_version_that_drains_drains_on() -> None:
    made = canary()
    made.work[made.version("one")].open = 1
    made.by_hand(shifting.promote)
    made.settle(10)
    assert made.states()["one"] == "Draining"
    lose(made)
    made.settle(5)
    assert made.states()["one"] == "Draining"
    assert made.replicas("one") >= 1
    made.work[made.version("one")].open = 0
    made.settle(60)
    assert made.states()["one"] == "Drained"
    assert made.condition("RolledOut")[0] == "True"


def test_a_canary_without_pods_is_not_waited_for_and_begins_anew() -> None:
    made = canary()
    made.dead.add("two")
    made.tick()
    lose(made)
    made.settle(4)
    assert made.shares() == {"one": 100.0}
    made.settle(10)
    assert made.status.rollout is not None
    assert made.status.rollout.phase == "Waiting", "nobody has aborted it"
    made.dead.clear()
    made.settle(120)
    assert made.shares() == {"two": 100.0}


def test_a_failed_canary_stays_failed() -> None:
    made = World.of(spec("one"))
    made.settle(10)
    rules = {"minimumSample": 20, "rules": ["failure-rate"]}
    made.change(spec("bad", rollout={"steps": [{"weight": 50}, {"weight": 100}], "analysis": rules}))
    for _ in range(20):
        made.serve(20)
        made.settle(2)
    assert made.condition("RolledOut") == ("False", "AnalysisFailed")
    lose(made)
    made.settle(30)
    assert made.shares() == {"one": 100.0}
    assert made.condition("RolledOut") == ("False", "AnalysisFailed")


def test_a_person_who_takes_the_share_away_is_still_followed() -> None:
    made = canary()
    made.by_hand(lambda table: replace(shifting.abort(table)))
    made.settle(10)
    assert made.condition("RolledOut") == ("False", "Aborted")
