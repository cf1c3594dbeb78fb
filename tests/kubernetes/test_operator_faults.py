"""Operators and API servers that are killed, throttled, cut off and half-way through: it comes to the same in the end."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from operated import CRDS, World, agent, until, world
from throttling import FakeThrottle

from engines.kubernetes.control_plane import ControlPlane
from engines.kubernetes.kubectl import Kubectl
from parley_operator.kube.kinds import AGENT, DEPLOYMENT, LEASE, NETWORK_POLICY, VERSION

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

STEPS = [
    {"weight": 20, "pause": {"duration": "2s"}},
    {"weight": 60, "pause": {"duration": "2s"}},
    {"weight": 100},
]


@pytest.fixture
async def here(kubeconfig: Path, kubectl: Kubectl, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    async with world(kubeconfig, namespace, tmp_path) as made:
        yield made


async def settled(here: World, name: str, generation: int, seconds: float = 120) -> str:
    """The version that is current when the rollout of that generation is over."""
    await until(
        lambda: here.holds(name, "RolledOut", generation=generation),
        seconds,
        what=f"{name} is not rolled out",
    )
    table = await here.table(name)
    assert sum(one.weight for one in table.versions) == 100
    return table.current


async def test_an_operator_that_is_killed_again_and_again_gets_there(here: World) -> None:
    operator = here.operator(lease="3", lease_margin="1", lease_retry="0.5")
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    await here.apply(agent("hello", rollout={"steps": STEPS}))
    first = ""
    for number in range(2):
        changed = await here.apply(agent("hello", image=f"image:{number}", rollout={"steps": STEPS}))
        for _ in range(3):
            await asyncio.sleep(chosen.uniform(1.0, 6.0))
            await asyncio.to_thread(operator.kill)
            operator.start()
            rows = (await here.table("hello")).versions
            assert not rows or sum(one.weight for one in rows) == 100
        now = await settled(here, "hello", changed["metadata"]["generation"])
        assert now != first
        first = now
    for version in await here.all(VERSION):
        assert [
            one
            for one in await here.all(DEPLOYMENT)
            if one["metadata"]["name"] == version["metadata"]["name"]
        ]


async def test_when_the_leader_is_killed_another_goes_on_within_20_seconds(here: World) -> None:
    one = here.operator("one")
    await until(lambda: _leads(one))
    two = here.operator("two")
    await here.apply(agent("hello"))
    await settled(here, "hello", 1)
    assert not two.leads
    await asyncio.to_thread(one.kill)
    killed = time.monotonic()
    changed = await here.apply(agent("hello", image="other:1"))

    async def acted() -> bool:
        return len(await here.all(VERSION)) == 2

    await until(acted, 40)
    took = time.monotonic() - killed
    assert took <= 20, f"it took {took:.1f} s"
    assert two.leads
    await settled(here, "hello", changed["metadata"]["generation"])
    # The other way round it is told to stop, and nobody has to wait.
    one.start()
    await until(lambda: _answers(one))
    assert await asyncio.to_thread(two.stop) == 0
    stopped = time.monotonic()
    await until(lambda: _leads(one))
    assert time.monotonic() - stopped < 9  # a lease lasts ten
    lease = await here.get(LEASE, "parley-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"].startswith("one-")


async def _leads(operator: Any) -> bool:
    return bool(await asyncio.to_thread(lambda: operator.leads))


async def _answers(operator: Any) -> bool:
    return bool((await asyncio.to_thread(operator.get, "/readyz"))[0] == 200)


async def test_an_api_server_that_throttles_and_breaks_off_only_slows_it_down(
    here: World, tmp_path: Path
) -> None:
    throttle = FakeThrottle(here.kubeconfig)
    throttle.share, throttle.broken = 0.3, 0.05
    async with throttle.serving(tmp_path) as kubeconfig:
        here.operator(kubeconfig=kubeconfig)
        for name in ("one", "two", "three"):
            await here.apply(agent(name))
        for name in ("one", "two", "three"):
            await settled(here, name, 1)
        assert throttle.throttled > 5


async def test_what_is_missing_or_half_made_is_made_whole(here: World) -> None:
    operator = here.operator()
    await here.apply(agent("hello", replicas=2))
    await settled(here, "hello", 1)
    await asyncio.to_thread(operator.kill)
    [deployment] = await here.all(DEPLOYMENT)
    await here.kube.delete(NETWORK_POLICY, here.namespace, "hello")
    await here.kube.patch(
        DEPLOYMENT,
        here.namespace,
        deployment["metadata"]["name"],
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
    )
    await here.kube.delete(DEPLOYMENT, here.namespace, deployment["metadata"]["name"])
    operator.start()

    async def whole() -> bool:
        made = await here.get(DEPLOYMENT, deployment["metadata"]["name"])
        return (
            await here.get(NETWORK_POLICY, "hello") is not None
            and made is not None
            and (made.get("status") or {}).get("readyReplicas") == 2
            and made["spec"]["template"] == deployment["spec"]["template"]
        )

    await until(whole, 60)


async def test_while_the_registry_is_away_nothing_is_shifted_and_it_is_told(here: World) -> None:
    here.operator()
    await here.apply(agent("hello"))
    before = await settled(here, "hello", 1)
    here.stop_registry()
    changed = await here.apply(agent("hello", image="other:1"))
    degraded = await until(lambda: _degraded(here), 60)
    assert degraded["reason"] == "RegistryUnreachable"
    found = await here.get(AGENT, "hello")
    assert found is not None
    assert found["status"]["currentVersion"] == before
    here.start_registry()
    assert await settled(here, "hello", changed["metadata"]["generation"]) != before


async def _degraded(here: World) -> Any:
    found = await here.condition("hello", "Degraded")
    return found if found.get("status") == "True" else None


async def test_an_api_server_that_is_killed_in_the_middle_of_a_rollout(
    own_cluster: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    cluster = own_cluster()
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    async with world(cluster.kubeconfig, "default", tmp_path) as here:
        operator = here.operator()
        await here.apply(agent("hello", rollout={"steps": STEPS}))
        before = await settled(here, "hello", 1)
        changed = await here.apply(agent("hello", image="other:1", rollout={"steps": STEPS}))
        await asyncio.sleep(3)
        await asyncio.to_thread(cluster.kill, "api")
        await asyncio.sleep(3)
        assert operator.running
        await asyncio.to_thread(cluster.start)
        assert await settled(here, "hello", changed["metadata"]["generation"]) != before
        assert operator.running
