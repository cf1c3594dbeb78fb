"""The same on the cluster's engines: the table in Nacos, without a registry service, and the work in RocketMQ."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from world import Load, World, until

from engines.rocketmq import RocketMQ
from parley_registry.client import Rollout, RolloutConflict, connect, shifting

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


@pytest.fixture
def place(tmp_path: Path, postgres_dsn: str, nacos_url: str, rocketmq: RocketMQ) -> Iterator[World]:
    """Hosts on PostgreSQL that are told of work by RocketMQ and of the table by Nacos."""
    made = World(tmp_path, postgres_dsn)
    made.registry_url = nacos_url
    made.more = ("--queue", rocketmq.url, "--bus", rocketmq.url)
    with ExitStack() as stack:
        stack.callback(lambda: [one.kill() for one in made.hosts.values() if one.process])
        yield made


async def test_a_canary_by_nacos_and_rocketmq(place: World, nacos_url: str) -> None:
    place.host("1.0.0", "Greeter")
    place.did("set", "greeter", "1.0.0=100")
    place.host("1.1.0", "Better")
    async with Load(place.hosts) as load:
        await until("the first answers", lambda: load.done > 30, 60)
        assert load.shares(0).keys() == {"1.0.0"}
        words = ("--steps", "40:3s,100", "--analysis", "failure-rate", "--sample", "10", "--drain", "60")
        rollout = place.rollout("run", "greeter", "1.1.0", *words)
        await until("the canary's first contexts", lambda: load.shares(0)["1.1.0"] >= 4, 60)
        place.did("pause", "greeter")
        told = json.loads(place.did("status", "greeter", "--json"))
        assert told["paused"]
        assert {one["version"]: one["weight"] for one in told["versions"]} == {"1.0.0": 60, "1.1.0": 40}
        place.did("resume", "greeter")
        said, _ = await asyncio.to_thread(rollout.communicate, timeout=120)
        assert rollout.returncode == 0, said
        assert said.rstrip().endswith("1.1.0 Current 100 %, 1.0.0 Drained"), said
        await asyncio.sleep(1.0)
        promoted = time.monotonic()
        await until("contexts after the rollout", lambda: sum(load.shares(promoted).values()) > 20, 60)
        assert load.shares(promoted).keys() == {"1.1.0"}
    assert not load.lost
    assert not load.failed
    assert not load.changed()

    one, other = connect(nacos_url), connect(nacos_url)
    try:
        async with aclosing(other.watch_rollouts("greeter")) as tables:
            table = await anext(tables)
            both = [
                registry.set_rollout(
                    replace(table, versions=made.versions, paused=made.paused), table.revision
                )
                for registry, made in ((one, shifting.undo(table)), (other, shifting.pause(table)))
            ]
            done = await asyncio.gather(*both, return_exceptions=True)
            kept = [made for made in done if isinstance(made, Rollout)]
            assert len(kept) == 1, done
            assert sum(isinstance(made, RolloutConflict) for made in done) == 1
            began = time.monotonic()
            while (seen := await anext(tables)).revision != kept[0].revision:
                assert time.monotonic() - began < 15.0
            assert seen == kept[0]
    finally:
        await one.aclose()
        await other.aclose()
