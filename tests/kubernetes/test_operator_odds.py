"""Specs that the API server takes and that cannot be carried out, and an operator that has no more rights than the chart gives:
what goes on already goes on, and the Agent says what is wrong."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from operated import CRDS, World, agent, until, world

from engines.kubernetes.kubectl import Kubectl
from parley_operator.kube.kinds import AGENT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

CAREFUL = {
    "steps": [{"weight": 50, "pause": {"duration": "600s"}}, {"weight": 100}],
    "analysis": {"minimumSample": 20},
}


@pytest.fixture
async def here(kubeconfig: Path, kubectl: Kubectl, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    async with world(kubeconfig, namespace, tmp_path) as made:
        yield made


async def ready(here: World, name: str) -> str:
    """The version that serves."""
    await until(lambda: here.holds(name, "Ready"), 40, what=f"{name} does not become ready")
    found = await here.get(AGENT, name)
    assert found is not None
    return str(found["status"]["currentVersion"])


async def degraded(here: World, name: str) -> dict[str, Any]:
    async def found() -> dict[str, Any]:
        told = await here.condition(name, "Degraded")
        return told if told.get("status") == "True" else {}

    return await until(found, 60, what=f"{name} is not said to be degraded")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"placement": {"affinity": {"nodeAfinity": {}}}}, "nodeAfinity"),
        ({"placement": {"affinity": {"nodeAffinity": "here"}}}, "nodeAffinity"),
        ({"env": [{"name": "ONE", "value": "1"}, {"name": "ONE", "value": "2"}]}, "ONE"),
        ({"env": [{"name": "PARLEY_DRAIN", "value": "1"}]}, "PARLEY_DRAIN"),
    ],
    ids=["unknown field", "wrong type", "twice", "ours"],
)
async def test_what_cannot_be_made_is_told_and_stops_no_judging_of_a_canary(
    here: World, more: dict[str, Any], said: str
) -> None:
    here.operator()
    await here.apply(agent("hello", rollout=CAREFUL))
    first = await ready(here, "hello")
    await here.apply(agent("hello", image="bad:1", rollout=CAREFUL))

    async def canary() -> str:
        rows = {one.version: one.weight for one in (await here.table("hello")).versions}
        return next((version for version, weight in rows.items() if version != first and weight == 50), "")

    second = await until(canary, 60)
    # The third spec cannot be carried out: the second is not wanted any more all the same.
    await here.apply(agent("hello", image="worse:1", rollout=CAREFUL, **more))
    told = await degraded(here, "hello")
    assert said in told["message"]

    async def taken_back() -> bool:
        return {one.version: one.weight for one in (await here.table("hello")).versions} == {
            first: 100,
            second: 0,
        }

    await until(taken_back, 30, what="the canary keeps its share")
    assert await here.holds("hello", "Ready")


async def test_pods_that_a_quota_denies_are_told_of(here: World, kubectl: Kubectl) -> None:
    kubectl("create", "quota", "none", "--hard=pods=0", "-n", here.namespace)
    here.operator()
    await here.apply(agent("hello"))
    assert "exceeded quota" in (await degraded(here, "hello"))["message"]
