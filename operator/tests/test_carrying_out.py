"""A plan of which the API server refuses a step: the rest is done, and the Agent says what was refused. What refuses here is a
fake API server, for faults that a real one has seldom."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from simulated import NAME, NAMESPACE, World, spec

from parley_operator.apply import Applier
from parley_operator.caches import Caches, Work
from parley_operator.decision import Plan
from parley_operator.degraded import Problem
from parley_operator.kube.client import Kube
from parley_operator.kube.errors import ApiFailed, Forbidden, Invalid
from parley_operator.kube.events import Told
from parley_operator.kube.informer import Key
from parley_operator.kube.kinds import AGENT, DEPLOYMENT, VERSION, Kind, kind_of
from parley_operator.loop import Loop
from parley_operator.observed import Observed
from parley_operator.plan import plan


class FakeRefusingKube(Kube):
    """Keeps what is written, and refuses the writes named in `refused`: verb and object, like "scale coder-1a2b3c4d"."""

    def __init__(self) -> None:
        self.refused: dict[str, Exception] = {}
        self.done: list[str] = []
        self.objects: dict[tuple[Kind, str], dict[str, Any]] = {}
        self._version = 10

    def _do(self, verb: str, kind: Kind, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
        what = f"{verb} {kind.name} {name}"
        for refused, error in self.refused.items():
            if what.startswith(refused):
                raise error
        self.done.append(what)
        self._version += 1
        live = self.objects.setdefault((kind, name), {"apiVersion": kind.api, "kind": kind.name})
        live |= deepcopy(dict(change))
        live["metadata"] = {
            "namespace": NAMESPACE,
            "name": name,
            "uid": f"u-{name}",
            "generation": 1,
            **live.get("metadata", {}),
            "resourceVersion": str(self._version),
        }
        return deepcopy(live)

    async def apply(self, obj: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        return self._do("apply", kind_of(obj), obj["metadata"]["name"], obj)

    async def patch(
        self, kind: Kind, namespace: str, name: str, change: Mapping[str, Any], *, subresource: str = ""
    ) -> dict[str, Any]:
        return self._do(subresource or "patch", kind, name, {})

    async def set_status(
        self, kind: Kind, namespace: str, name: str, version: str, status: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self._do("status", kind, name, {"status": status})

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
        self._do("delete", kind, name, {})

    async def names(self, kind: Kind, namespace: str, *, labels: str = "") -> frozenset[str]:
        return frozenset()


class KeptEvents:
    """What was told."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def tell(self, event: Told) -> None:
        self.told.append(event)


class Cluster:
    """An operator's writing side over the fake, with an Agent in its caches."""

    def __init__(self) -> None:
        self.kube = FakeRefusingKube()
        self.caches = Caches(self.kube, [], lambda _: None)
        self.events = KeptEvents()
        self.applier = Applier(self.kube, self.caches, None, self.events)  # type: ignore[arg-type]
        self.world = World.of(spec(replicas=3))
        self.world.agent |= {"apiVersion": AGENT.api, "kind": "Agent"}
        self.caches.wrote(AGENT, self.kube._do("apply", AGENT, NAME, self.world.agent), spec=True)

    def observe(self) -> Observed:
        """All that there is, as the caches have it."""
        agent = self.caches.agents.get(Key(NAMESPACE, NAME))
        assert agent is not None
        self.world.agent = agent
        self.world.versions = {
            one["metadata"]["name"]: one for one in self.caches.versions_of(Key(NAMESPACE, NAME))
        }
        self.world.children = {
            ref: {**one, "spec": {"replicas": 1, **one.get("spec", {})}} if ref.kind == "Deployment" else one
            for ref, one in self.caches.children(Key(NAMESPACE, NAME)).items()
        }
        return self.world.observe()

    async def reconcile(self) -> Problem | None:
        seen = self.observe()
        return await self.applier.carry_out(seen, plan(seen))

    def condition(self) -> dict[str, Any]:
        agent = self.caches.agents.get(Key(NAMESPACE, NAME))
        assert agent is not None
        found = agent["status"]["conditions"]
        return next(one for one in found if one["type"] == "Degraded")


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster()


FORBIDDEN = Forbidden(403, "Forbidden", "an admission rule says no")


async def test_a_refused_object_keeps_no_other_from_being_made(cluster: Cluster) -> None:
    cluster.kube.refused["apply NetworkPolicy"] = Invalid(422, "Invalid", "spec.egress: too many")
    problem = await cluster.reconcile()
    assert problem is not None
    assert "spec.egress: too many" in problem.message
    assert any(one.startswith("apply Deployment") for one in cluster.kube.done)
    assert any(one.startswith("apply PodDisruptionBudget") for one in cluster.kube.done)
    assert cluster.condition()["status"] == "True"
    assert cluster.condition()["reason"] == "Refused"


@pytest.mark.parametrize(
    "error",
    [FORBIDDEN, Invalid(422, "Invalid", "replicas: no"), ApiFailed("the webhook failed")],
    ids=["403", "422", "500"],
)
async def test_a_refused_scale_is_told_and_the_rest_goes_on(cluster: Cluster, error: Exception) -> None:
    cluster.kube.refused["scale Deployment"] = error
    await cluster.reconcile()
    cluster.kube.done.clear()
    first = await cluster.reconcile()
    assert first is not None, "the refusal is what the loop backs off by"
    assert cluster.condition()["status"] == "True"
    assert str(error) in cluster.condition()["message"]
    assert f"replicas of Deployment {NAME}-" in cluster.condition()["message"]
    told = [one for one in cluster.events.told if str(error) in one.note]
    assert [(one.type, one.about["kind"]) for one in told] == [("Warning", "Agent")]


async def test_what_comes_after_a_refused_scale_and_status_is_done(cluster: Cluster) -> None:
    await cluster.reconcile()
    (version,) = cluster.caches.versions_of(Key(NAMESPACE, NAME))
    name = version["metadata"]["name"]
    cluster.kube.refused = {f"status AgentVersion {name}": FORBIDDEN, "scale Deployment": FORBIDDEN}
    cluster.kube.done.clear()
    seen = cluster.observe()
    made = plan(seen)
    service = next(ref for ref in seen.children if ref.kind == "Service")
    problem = await cluster.applier.carry_out(
        seen,
        Plan(
            status={**(made.status or {}), "phase": "Ready"},
            version_status={name: {"state": "Current"}},
            scale=made.scale,
            delete=(service,),
        ),
    )
    assert problem is not None
    assert f"the status of AgentVersion {name}" in problem.message
    assert "the replicas of Deployment" in problem.message
    assert f"delete Service {NAME}" in cluster.kube.done


async def test_a_refusal_that_goes_on_changes_nothing_over_and_over_and_is_told_once(
    cluster: Cluster,
) -> None:
    cluster.kube.refused["scale Deployment"] = FORBIDDEN
    for _ in range(3):
        await cluster.reconcile()
    cluster.kube.done.clear()
    told = len(cluster.events.told)
    for _ in range(3):
        assert await cluster.reconcile() is not None
    assert cluster.kube.done == []
    assert len(cluster.events.told) == told
    cluster.kube.refused.clear()
    assert await cluster.reconcile() is None
    assert await cluster.reconcile() is None
    assert cluster.condition()["status"] == "False"


async def test_an_agent_whose_status_is_refused_has_its_objects_all_the_same(cluster: Cluster) -> None:
    cluster.kube.refused["status Agent "] = FORBIDDEN
    problem = await cluster.reconcile()
    assert problem is not None
    assert f"the status of Agent {NAME}" in problem.message
    assert {kind for kind, _ in cluster.kube.objects} >= {DEPLOYMENT, VERSION}


async def test_the_same_trouble_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Refused:
        problem: Problem | None = Problem("Forbidden", "no")

        async def reconcile(self, work: Work) -> tuple[Problem | None, float | None]:
            return self.problem, None

        async def tell(self, work: Work, problem: Problem) -> None: ...

    loop, refused = Loop(), Refused()
    loop.reconcilers["Agent"] = refused
    work = Work("Agent", "n", "a")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await loop._one(work) == "refused"
        assert [one.message for one in caplog.records] == ["Agent n/a: Forbidden: no"]
        refused.problem = Problem("Forbidden", "neither")
        await loop._one(work)
        refused.problem = None
        await loop._one(work)
        refused.problem = Problem("Forbidden", "neither")
        await loop._one(work)
    assert len(caplog.records) == 3
