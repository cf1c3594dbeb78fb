"""The operator as a process, on a real API server with a registry; the pods only pretend to run (see operated.py)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from operated import CRDS, World, agent, everything, until, world

from engines.kubernetes.kubectl import Kubectl
from parley_operator.kube.kinds import (
    AGENT,
    AUTOSCALER,
    CHILDREN,
    DEPLOYMENT,
    SECRET,
    SERVICE,
    TEAM,
    VERSION,
)
from parley_registry.client import UnknownAgent, VersionFigures

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture
async def here(kubeconfig: Path, kubectl: Kubectl, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    async with world(kubeconfig, namespace, tmp_path) as made:
        yield made


async def ready(here: World, name: str, generation: int | None = None) -> dict[str, Any]:
    await until(
        lambda: here.holds(name, "Ready", generation=generation), 60, what=f"{name} does not become ready"
    )
    found = await here.get(AGENT, name)
    assert found is not None
    return found


async def rolled_out(here: World, name: str, generation: int) -> None:
    await until(
        lambda: here.holds(name, "RolledOut", generation=generation), 90, what=f"{name} is not rolled out"
    )


async def test_what_is_applied_comes_up_and_an_unchanged_world_is_not_written_to(here: World) -> None:
    operator = here.operator(resync="1")
    await here.apply(agent("hello", replicas=2))
    await rolled_out(here, "hello", 1)
    found = await ready(here, "hello")
    assert (await here.table("hello")).current == found["status"]["currentVersion"]
    for kind in CHILDREN:
        if kind is not AUTOSCALER:
            assert [
                one
                for one in await here.all(kind)
                if (one["metadata"].get("labels") or {}).get("parley.dev/agent") == "hello"
            ], kind.name
    [deployment] = await here.all(DEPLOYMENT)
    assert deployment["spec"]["replicas"] == 2
    assert deployment["metadata"]["ownerReferences"][0]["kind"] == "AgentVersion"

    await asyncio.sleep(3)
    looked, written = (
        operator.metric("parley_operator_reconciles_total"),
        operator.metric("parley_operator_writes_total"),
    )
    await until(lambda: _more(operator, looked + 5))
    assert operator.metric("parley_operator_writes_total") == written
    assert operator.get("/healthz")[0] == 200
    assert operator.get("/readyz")[0] == 200
    assert operator.stop() == 0


async def _more(operator: Any, than: float) -> bool:
    return bool(operator.metric("parley_operator_reconciles_total") > than)


async def test_a_changed_image_is_a_canary_and_then_current(here: World) -> None:
    here.operator()
    steps = [{"weight": 25, "pause": {"duration": "3s"}}, {"weight": 100}]
    await here.apply(agent("hello", rollout={"steps": steps}))
    first = (await ready(here, "hello"))["status"]["currentVersion"]
    changed = await here.apply(agent("hello", image="other:2", rollout={"steps": steps}))

    async def canary() -> Any:
        rows = {one.version: one.weight for one in (await here.table("hello")).versions}
        return rows if rows.get(first) == 75 else None

    rows = await until(canary, 60)
    [second] = rows.keys() - {first}
    assert rows[second] == 25
    await rolled_out(here, "hello", changed["metadata"]["generation"])
    table = await here.table("hello")
    assert table.current == second
    assert len(await here.all(VERSION)) == 2

    async def scaled_down() -> bool:
        return sorted(one["spec"]["replicas"] for one in await here.all(DEPLOYMENT)) == [0, 1]

    await until(scaled_down, 60)
    # Back to the first: no third version is made of it.
    again = await here.apply(agent("hello", rollout={"steps": steps}))
    await rolled_out(here, "hello", again["metadata"]["generation"])
    assert (await here.table("hello")).current == first
    assert len(await here.all(VERSION)) == 2


async def test_a_canary_that_fails_loses_its_share_and_says_why(here: World) -> None:
    here.operator()
    rollout = {
        "steps": [{"weight": 50, "pause": {"duration": "60s"}}, {"weight": 100}],
        "analysis": {"minimumSample": 20},
    }
    await here.apply(agent("hello", rollout=rollout))
    first = (await ready(here, "hello"))["status"]["currentVersion"]
    await here.apply(agent("hello", image="bad:1", rollout=rollout))

    async def canary() -> str:
        rows = {one.version: one.weight for one in (await here.table("hello")).versions}
        return next((version for version, weight in rows.items() if version != first and weight == 50), "")

    second = await until(canary, 60)
    here.hosts.figures[here.namespace, "hello"] = {
        first: VersionFigures(first, workers=1, ended={"completed": 50}),
        second: VersionFigures(second, workers=1, ended={"failed": 30, "completed": 10}),
    }
    degraded = await until(lambda: _true(here, "hello", "Degraded"), 60)
    assert "failed 30 of 40" in degraded["message"]
    rows = {one.version: one.weight for one in (await here.table("hello")).versions}
    assert rows == {first: 100, second: 0}
    assert (await ready(here, "hello"))["status"]["currentVersion"] == first


async def _true(here: World, name: str, kind: str) -> Any:
    found = await here.condition(name, kind)
    return found if found.get("status") == "True" else None


async def test_replicas_and_annotations_of_others_are_left_alone(here: World, kubectl: Kubectl) -> None:
    here.operator(resync="1")
    await here.apply(agent("hello", replicas=3))
    await ready(here, "hello")
    [deployment] = await here.all(DEPLOYMENT)
    name = deployment["metadata"]["name"]
    kubectl("annotate", "deployment", name, "-n", here.namespace, "theirs=1")
    kubectl("autoscale", "deployment", name, "-n", here.namespace, "--min=4", "--max=9")
    await here.apply(agent("hello"))  # replicas are not ours any more
    await asyncio.sleep(3)
    kubectl("scale", "deployment", name, "-n", here.namespace, "--replicas=5")
    await asyncio.sleep(4)
    found = await here.get(DEPLOYMENT, name)
    assert found is not None
    assert found["spec"]["replicas"] == 5
    assert found["metadata"]["annotations"]["theirs"] == "1"


async def test_a_field_that_another_has_taken_is_told_of_and_not_fought_for(
    here: World, kubectl: Kubectl
) -> None:
    here.operator(resync="1")
    await here.apply(agent("hello"))
    await ready(here, "hello")
    patch = '{"spec": {"ports": [{"port": 80, "targetPort": 1234, "name": "http"}]}}'
    kubectl("patch", "service", "hello", "-n", here.namespace, "--type=merge", "-p", patch)
    degraded = await until(lambda: _true(here, "hello", "Degraded"))
    assert degraded["reason"] == "FieldConflict"
    assert "kubectl-patch" in degraded["message"]
    service = await here.get(SERVICE, "hello")
    assert service is not None
    assert service["spec"]["ports"][0]["targetPort"] == 1234
    await here.kube.delete(SERVICE, here.namespace, "hello")

    async def mended() -> bool:
        return not await _true(here, "hello", "Degraded") and await here.holds("hello", "Ready")

    await until(mended, 60)


async def test_a_changed_secret_is_a_new_version_within_seconds(here: World) -> None:
    here.operator(resync="300")
    spec = {"envFrom": [{"secret": "model-key"}]}
    await here.apply(agent("hello", **spec))
    await until(lambda: _missing(here))
    await here.apply(_secret("one"))
    before = (await ready(here, "hello"))["status"]["currentVersion"]
    await here.apply(_secret("two"))

    async def another() -> bool:
        return len(await here.all(VERSION)) == 2

    await until(another, 15)

    async def current() -> bool:
        return (await here.table("hello")).current not in ("", before)

    await until(current, 60)


def _secret(key: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "model-key"},
        "stringData": {"KEY": key},
    }


async def _missing(here: World) -> bool:
    return (await here.condition("hello", "Accepted")).get("reason") == "ReferenceMissing"


async def test_somebody_elses_object_of_that_name_is_not_taken_over(here: World) -> None:
    await here.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "hello"},
            "spec": {"ports": [{"port": 1}], "selector": {"app": "theirs"}},
        }
    )
    here.operator()
    await here.apply(agent("hello"))
    degraded = await until(lambda: _true(here, "hello", "Degraded"))
    assert degraded["reason"] == "NotOurs"
    service = await here.get(SERVICE, "hello")
    assert service is not None
    assert service["spec"]["selector"] == {"app": "theirs"}
    assert "ownerReferences" not in service["metadata"]


async def test_one_that_the_api_server_refuses_keeps_no_other_waiting(here: World) -> None:
    here.operator()
    more_asked_than_allowed = {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}
    await here.apply(agent("bad", resources=more_asked_than_allowed))
    degraded = await until(lambda: _true(here, "bad", "Degraded"))
    assert "cpu" in degraded["message"]
    for name in ("one", "two"):
        await here.apply(agent(name))
    for name in ("one", "two"):
        await ready(here, name)
    await here.apply(agent("bad"))
    await ready(here, "bad")


async def test_a_deleted_agent_takes_with_it_what_was_made_of_it(here: World) -> None:
    here.operator()
    await here.apply(agent("hello"))
    await ready(here, "hello")
    await here.kube.delete(AGENT, here.namespace, "hello")

    async def gone() -> bool:
        return await here.get(AGENT, "hello") is None

    await until(gone, 90)

    async def all_gone() -> bool:
        return not [
            one
            for kind in (VERSION, DEPLOYMENT, SERVICE)
            for one in await everything(here.kube, kind, here.namespace)
        ]

    await until(all_gone, 60)
    with pytest.raises(UnknownAgent):
        await here.registry.versions("hello")
    assert await here.get(SECRET, "parley-platform") is not None


async def test_a_team_is_five_agents_and_follows_its_spec(here: World) -> None:
    here.operator()
    await here.apply(agent("alpha-tester"))
    team = {"apiVersion": AGENT.api, "kind": "AgentTeam", "metadata": {"name": "alpha"}}
    await here.apply({**team, "spec": {"env": [{"name": "MODEL", "value": "one"}]}})

    async def taken() -> Any:
        found = await here.condition("alpha", "Degraded", TEAM)
        return found if found.get("reason") == "NotOurs" else None

    told = await until(taken, 60)
    assert "alpha-tester" in told["message"]
    await here.kube.delete(AGENT, here.namespace, "alpha-tester")

    async def team_ready() -> bool:
        return (await here.condition("alpha", "Ready", TEAM)).get("status") == "True"

    await until(team_ready, 120)
    assert len(await here.all(AGENT)) == 5
    await here.apply({**team, "spec": {}})

    async def without() -> bool:
        return all("env" not in one["spec"] for one in await here.all(AGENT))

    await until(without)
    await here.kube.delete(TEAM, here.namespace, "alpha")

    async def none_left() -> bool:
        return not await here.all(AGENT)

    await until(none_left, 120)
