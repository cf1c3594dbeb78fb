"""What should not be, and is: statuses and specs of another release, pods that a quota denies, objects that somebody copied."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from simulated import NAME, World, spec

from parley_operator.caches import Caches
from parley_operator.decision import Plan
from parley_operator.kube.access import Access
from parley_operator.kube.client import Kube
from parley_operator.kube.wire import Wire
from parley_operator.manifests.meta import FINALIZER
from parley_operator.observed import Ref
from parley_operator.plan import plan


def served() -> World:
    """A world whose first version serves."""
    world = World.of(spec())
    world.settle(10)
    assert world.condition("Ready")[0] == "True"
    return world


def test_pods_that_are_denied_are_told_of_though_there_are_none() -> None:
    world = World.of(spec("dead"))
    world.reconcile()
    world.tick()
    [deployment] = [one for ref, one in world.children.items() if ref.kind == "Deployment"]
    deployment["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": ""},
        {
            "type": "ReplicaFailure",
            "status": "True",
            "reason": "FailedCreate",
            "message": 'pods "coder-1" is forbidden: exceeded quota: none',
        },
    ]
    world.reconcile()
    world.reconcile()
    assert "exceeded quota: none" in next(
        one.message for one in world.status.conditions if one.type == "Degraded"
    )


@pytest.mark.parametrize("fault", [{"runtime": "wasm"}, {"replicas": "many"}, {"grace": 5}], ids=str)
def test_an_agent_whose_spec_cannot_be_read_any_more_can_be_deleted(fault: dict[str, Any]) -> None:
    world = served()
    world.agent["metadata"]["finalizers"] = [FINALIZER]
    world.agent["spec"] = {**world.agent["spec"], "deletionDeadline": "7s"} | fault
    world.delete()
    for _ in range(200):
        made = plan(world.observe())
        world.carry_out(made)
        world.tick(2)
        if world.gone:
            break
    assert world.gone
    assert not world.published


def test_a_status_of_another_release_says_nothing_and_stops_nothing() -> None:
    world = served()
    world.agent["status"]["rollout"]["phase"] = "Celebrating"
    current = world.table.current
    world.change(spec("two"))
    world.settle(30)
    assert world.table.current == world.version("two") != current


def test_a_copy_of_an_agent_version_under_another_name_counts_for_nothing() -> None:
    world = served()
    [(name, real)] = world.versions.items()
    before = plan(world.observe())
    copied = deepcopy(real)
    copied["metadata"] |= {"name": f"{name}-copy", "uid": "copy"}
    foreign = deepcopy(real)
    foreign["metadata"] |= {"name": f"{NAME}-foreign", "uid": "foreign"}
    foreign["spec"] |= {"agent": "reviewer", "hash": "00000000", "version": "0.1.0+00000000"}
    world.versions |= {copied["metadata"]["name"]: copied, foreign["metadata"]["name"]: foreign}
    after = plan(world.observe())
    assert after == before
    assert Ref("Deployment", name) in world.children


def test_of_two_agents_with_one_name_in_the_registry_the_elder_has_it() -> None:
    world = served()
    seen = replace(world.observe(), elder="team-b/coder")
    world.carry_out(plan(seen))
    assert world.condition("Accepted") == ("False", "NameTaken")
    assert "team-b/coder" in world.status.conditions[0].message
    made = plan(replace(world.observe(), elder="team-b/coder"))
    assert made == Plan(again=made.again), "it is told once, and nothing is touched"
    # When it goes, the cards of the other stay.
    world.agent["metadata"]["finalizers"] = [FINALIZER]
    world.delete()
    while not world.gone:
        made = plan(replace(world.observe(), elder="team-b/coder"))
        assert not made.withdraw
        world.carry_out(made)
        world.tick(5)


async def test_the_elder_is_the_one_that_was_there_first_and_runs_here() -> None:
    async with Wire(Access("http://127.0.0.1:1", None, None, "")) as wire:
        caches = Caches(Kube(wire), (), lambda _: None)
        here, elsewhere, later = (_agent(*one) for one in (("b", "02"), ("a", "03"), ("c", "02")))
        named = _agent("r", "01", runtime="remote")
        named["spec"]["remote"] = {"agent": "coder"}  # it says whose it is, and publishes nothing
        for one in (here, elsewhere, later, named, _agent("d", "01", "other")):
            caches.agents.wrote(one)
        assert caches.elder(here) is None
        assert caches.elder(elsewhere) == ("b", "coder")
        assert caches.elder(later) == ("b", "coder"), "of one second, the first by name"


def _agent(namespace: str, minute: str, name: str = "coder", runtime: str = "native") -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name, "resourceVersion": "1"}
    created = {"creationTimestamp": f"2027-01-01T00:{minute}:00Z"}
    return {"metadata": meta | created, "spec": {"runtime": runtime}}
