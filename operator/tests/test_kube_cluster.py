"""Watched caches, applying, the lease and events, on a real API server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engines.kubernetes.control_plane import ControlPlane
from engines.kubernetes.kubectl import Kubectl
from parley_operator.kube.access import find_access
from parley_operator.kube.client import Kube
from parley_operator.kube.errors import FieldConflict, KubeError, NotLeading
from parley_operator.kube.events import Events, Told
from parley_operator.kube.informer import Informer, Key
from parley_operator.kube.kinds import CONFIG_MAP, LEASE
from parley_operator.kube.lease import Leadership, Times
from parley_operator.kube.wire import Wire

pytestmark = pytest.mark.cluster

TIMES = Times(duration=3.0, margin=1.0, retry=0.5)


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[Kube]:
    async with Wire(find_access(str(kubeconfig))) as wire:
        yield Kube(wire)


@asynccontextmanager
async def running(*jobs: Any) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def until(holds: Callable[[], Any], seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it does not come to that"
        await asyncio.sleep(0.02)


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {"of": "test"}},
        "data": data,
    }


async def test_what_is_applied_is_ours_and_what_others_own_is_left_alone(
    kubeconfig: Path, kubectl: Kubectl, namespace: str
) -> None:
    async with connected(kubeconfig) as kube:
        await kube.apply(config_map(namespace, "a", ours="1", gone="1"))
        kubectl("annotate", "configmap", "a", "-n", namespace, "theirs=1")
        kubectl("patch", "configmap", "a", "-n", namespace, "--type=merge", "-p", '{"data": {"theirs": "1"}}')
        written = await kube.apply(config_map(namespace, "a", ours="2"))
        assert written["data"] == {"ours": "2", "theirs": "1"}
        assert written["metadata"]["annotations"]["theirs"] == "1"
        with pytest.raises(FieldConflict) as refused:
            await kube.apply(config_map(namespace, "a", ours="2", theirs="2"))
        assert [(one.field, one.manager) for one in refused.value.claims] == [
            (".data.theirs", "kubectl-patch")
        ]


async def test_a_cache_has_what_there_was_what_comes_and_what_we_write(
    kubeconfig: Path, kubectl: Kubectl, namespace: str
) -> None:
    async with connected(kubeconfig) as kube:
        await kube.apply(config_map(namespace, "before", said="x"))
        cache = Informer(
            kube,
            CONFIG_MAP,
            (namespace,),
            labels="of=test",
            index=lambda obj: [f"said:{obj['data']['said']}"],
        )
        told: list[Key] = []
        cache.on_change(lambda key, _: told.append(key))
        async with running(cache.run()):
            await asyncio.wait_for(cache.wait(), 60)
            assert list(cache) == [(namespace, "before")]
            kubectl.apply(config_map(namespace, "after", said="x"))
            await until(lambda: len(cache) == 2)
            assert [one["metadata"]["name"] for one in cache.find(namespace, "said:x")] == ["after", "before"]
            told.clear()
            with cache.writing(Key(namespace, "before")):
                cache.wrote(await kube.apply(config_map(namespace, "before", said="y")))
            found = cache.get(Key(namespace, "before"))
            assert found is not None
            assert found["data"]["said"] == "y"
            assert "managedFields" not in found["metadata"]
            kubectl("delete", "configmap", "after", "-n", namespace)
            await until(lambda: len(cache) == 1)
            assert told == [(namespace, "after")], "what we wrote ourselves is no news"
            assert not cache.has(namespace, "said:x")


async def test_a_cache_catches_up_after_the_api_server_was_killed(
    own_cluster: Callable[..., ControlPlane],
) -> None:
    cluster = own_cluster(fake_node=False)
    async with connected(cluster.kubeconfig) as kube:
        await kube.apply(config_map("default", "kept"))
        await kube.apply(config_map("default", "deleted"))
        cache = Informer(kube, CONFIG_MAP, labels="of=test")
        async with running(cache.run()):
            await asyncio.wait_for(cache.wait(), 60)
            assert len(cache) == 2
            await asyncio.to_thread(cluster.kill, "api")
            with pytest.raises(KubeError):
                await kube.apply(config_map("default", "kept", said="1"))
            await asyncio.to_thread(cluster.start)
            await kube.apply(config_map("default", "kept", said="2"))
            await kube.delete(CONFIG_MAP, "default", "deleted")
            await kube.apply(config_map("default", "new"))
            await until(lambda: {key.name for key in cache} == {"kept", "new"}, 40)
            kept = cache.get(Key("default", "kept"))
            assert kept is not None
            assert kept["data"] == {"said": "2"}


async def test_a_cache_whose_version_is_too_old_lists_again(kubeconfig: Path, namespace: str) -> None:
    async with connected(kubeconfig) as kube:
        cache = Informer(kube, CONFIG_MAP, (namespace,), labels="of=test")
        cache._feeds[namespace].version = "1"
        await kube.apply(config_map(namespace, "a"))
        async with running(cache.run()):
            await until(lambda: len(cache) == 1)


async def test_one_leads_and_the_other_takes_over_when_it_vanishes(kubeconfig: Path, namespace: str) -> None:
    async with connected(kubeconfig) as kube:
        one, two = (Leadership(kube, namespace, "lease", name, TIMES) for name in ("one", "two"))
        first = asyncio.ensure_future(one.run(lambda: None))
        await until(one.leads.is_set)
        async with running(two.run(lambda: None)):
            await asyncio.sleep(2)
            assert not two.leads.is_set()
            assert two.left() == 0
            ended = time.monotonic()
            first.cancel()  # as killed: nothing is given back
            await until(two.leads.is_set)
            assert time.monotonic() - ended > 1
            spec = (await kube.get(LEASE, namespace, "lease"))["spec"]
            assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)


async def test_a_lease_that_was_given_away_need_not_run_out(kubeconfig: Path, namespace: str) -> None:
    longer_than_the_test_waits = Times(duration=300.0, margin=1.0, retry=0.5)
    async with connected(kubeconfig) as kube:
        one, two = (
            Leadership(kube, namespace, "lease", name, longer_than_the_test_waits) for name in ("one", "two")
        )
        async with running(one.run(lambda: None)):
            await until(one.leads.is_set)
        await one.release()
        async with running(two.run(lambda: None)):
            await until(two.leads.is_set)


async def test_who_cannot_renew_stops_writing_before_another_may_begin(
    own_cluster: Callable[..., ControlPlane],
) -> None:
    cluster = own_cluster(fake_node=False)
    lost: list[float] = []
    async with Wire(find_access(str(cluster.kubeconfig))) as wire:
        leadership = Leadership(Kube(wire), "default", "lease", "one", TIMES)
        fenced = Kube(wire, left=leadership.left)
        async with running(leadership.run(lambda: lost.append(time.monotonic()))):
            await until(leadership.leads.is_set)
            await fenced.apply(config_map("default", "a"))
            await asyncio.to_thread(cluster.kill, "api")
            assert leadership.left() <= TIMES.duration - TIMES.margin
            await until(lambda: leadership.left() == 0)
            with pytest.raises(NotLeading):
                await fenced.apply(config_map("default", "a", said="late"))
            await until(lambda: lost)
            await asyncio.to_thread(cluster.start)
            await until(leadership.leads.is_set, 30)
            await fenced.apply(config_map("default", "a", said="again"))


async def test_the_same_event_told_again_is_counted(
    kubeconfig: Path, kubectl: Kubectl, namespace: str
) -> None:
    async with connected(kubeconfig) as kube:
        about = await kube.apply(config_map(namespace, "a"))
        events = Events(kube, "test")
        async with running(events.run()):
            for _ in range(3):
                events.tell(Told(about, "Warning", "Tried", "It was tried."))
                for series in events._known.values():
                    series.last -= 60  # as if a minute had passed

            def told() -> list[dict[str, Any]]:
                return kubectl.json("get", "events.events.k8s.io", "-n", namespace)["items"]

            await until(lambda: told() and (told()[0].get("series") or {}).get("count") == 3)
            [event] = told()
            assert (event["type"], event["reason"], event["note"]) == ("Warning", "Tried", "It was tried.")
            assert event["regarding"]["name"] == "a"
            assert "It was tried." in kubectl("describe", "configmap", "a", "-n", namespace)
