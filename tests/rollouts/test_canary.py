"""A canary from end to end: two versions of an agent side by side on one store, under load, and what goes wrong meanwhile."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from world import Load, World, interrupt, until, world

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world whose hosts share a SQLite file, and one on PostgreSQL."""
    sqlite = request.param == "sqlite"
    store = f"sqlite:///{tmp_path}/greeter.db" if sqlite else request.getfixturevalue("postgres_dsn")
    with world(tmp_path, store) as made:
        yield made


def table(place: World) -> dict[str, tuple[str, float]]:
    """State and weight of each version."""
    told = json.loads(place.did("status", "greeter", "--json"))
    return {one["version"]: (one["state"], one["weight"]) for one in told["versions"]}


async def within(place: World, **wanted: tuple[str, float]) -> None:
    until_ = time.monotonic() + 90
    while (now := await asyncio.to_thread(table, place)) != wanted:
        assert time.monotonic() < until_, f"{now}, not {wanted}"


async def test_a_canary_comes_to_be_current_under_load_while_registry_and_hosts_are_killed(
    place: World,
) -> None:
    old = place.host("1.0.0", "Greeter")
    place.did("set", "greeter", "1.0.0=100")
    new = place.host("1.1.0", "Better")
    async with Load(place.hosts) as load:
        await until("the first answers", lambda: load.done > 40)
        assert load.shares(0).keys() == {"1.0.0"}, "a version without a weight was given contexts"
        words = ("--steps", "5:3s,50:8s,100", "--analysis", "failure-rate", "--sample", "10", "--drain", "60")
        rollout = place.rollout("run", "greeter", "1.1.0", *words)
        await until("the canary's first contexts", lambda: load.shares(0)["1.1.0"] >= 12, 60)

        place.registry.kill()
        before = load.done
        await until("answers without a registry", lambda: load.done > before + 40)
        await asyncio.to_thread(place.registry.start)
        for host in (new, old):
            host.kill()
            await asyncio.sleep(1.0)
            await asyncio.to_thread(host.start)

        said, _ = await asyncio.to_thread(rollout.communicate, timeout=120)
        assert rollout.returncode == 0, said
        assert "1.1.0 is current, with all new contexts" in said
        assert said.rstrip().endswith("1.1.0 Current 100 %, 1.0.0 Drained"), said
        promoted = time.monotonic()
        await until("contexts after the rollout", lambda: sum(load.shares(promoted).values()) > 40)
        assert load.shares(promoted).keys() == {"1.1.0"}
    assert not load.lost
    assert not load.failed
    assert not load.changed()
    assert {"1.0.0", "1.1.0"} == set().union(*load.answers.values())


async def test_a_bad_version_loses_its_weight_by_itself_and_its_contexts_go_on(place: World) -> None:
    place.host("1.0.0", "Greeter")
    place.did("set", "greeter", "1.0.0=100")
    place.host("1.2.0", "Broken")
    async with Load(place.hosts) as load:
        words = ("--steps", "25:60s,100", "--analysis", "failure-rate")
        rollout = place.rollout("run", "greeter", "1.2.0", *words)
        said, _ = await asyncio.to_thread(rollout.communicate, timeout=120)
        assert rollout.returncode == 1, said
        assert "1.2.0 does worse and gets no new contexts any more: failure-rate: 1.2.0 failed" in said
        await asyncio.sleep(5.0)
        stopped = time.monotonic()
        await until("contexts after the rollback", lambda: sum(load.shares(stopped).values()) > 60)
        assert load.shares(stopped).keys() == {"1.0.0"}
        theirs = next(context for context, versions in load.answers.items() if versions == {"1.2.0"})
        while await load.say(theirs) != "TASK_STATE_COMPLETED":
            pass
    assert not load.lost
    assert not load.changed()
    assert load.failed.keys() == {"TASK_STATE_FAILED"}


async def test_a_task_that_runs_holds_its_version_until_it_has_ended(place: World) -> None:
    place.host("1.0.0", "Greeter")
    place.did("set", "greeter", "1.0.0=100")
    place.host("1.1.0", "Better")
    load = Load(place.hosts)
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers={"A2A-Version": "1.0"}) as load._http:
        long = asyncio.create_task(load.say("long", "wait 20"))
        await asyncio.sleep(1.0)
        said = await asyncio.to_thread(place.did, "promote", "greeter", "1.1.0", "--drain", "4")
        assert said == "1.1.0 Current 100 %, 1.0.0 Draining\n"
        assert await load.say("new") == await long == "TASK_STATE_COMPLETED"
        assert (load.answers["long"], load.answers["new"]) == ({"1.0.0"}, {"1.1.0"})
        said = await asyncio.to_thread(place.did, "undo", "greeter", "--drain", "20")
        assert said == "1.0.0 Current 100 %, 1.1.0 Drained\n"
    history = place.did("history", "greeter").splitlines()
    assert len(history) >= 4
    assert any(line.endswith("1.1.0 Current 100 %, 1.0.0 Draining") for line in history)


async def test_that_a_version_has_drained_is_said_by_its_hosts_whoever_of_them_dies(place: World) -> None:
    old = place.host("1.0.0", "Greeter")
    place.did("set", "greeter", "1.0.0=100")
    new = place.host("1.1.0", "Better")
    load = Load(place.hosts)
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers={"A2A-Version": "1.0"}) as load._http:
        long = asyncio.create_task(load.say("long", "wait 15"))
        await asyncio.sleep(1.0)
        place.did("promote", "greeter", "1.1.0")
        new.kill()
        assert await long == "TASK_STATE_COMPLETED"
        old.kill()
        await asyncio.to_thread(new.start)
        await within(place, **{"1.0.0": ("Drained", 0), "1.1.0": ("Current", 100)})


async def test_the_contexts_of_a_canary_that_is_aborted_with_move_go_on_with_the_current_version(
    place: World,
) -> None:
    old = place.host("1.0.0", "Greeter")
    place.did("set", "greeter", "1.0.0=100")
    new = place.host("1.1.0", "Better")
    place.did("set", "greeter", "1.0.0=60", "1.1.0=40")
    async with Load(place.hosts) as load:
        await until("the canary's first contexts", lambda: load.shares(0)["1.1.0"] >= 10, 60)
        began = {context for context, versions in load.answers.items() if "1.1.0" in versions}
        theirs = next(iter(began))
        long = asyncio.create_task(load.say(theirs, "wait 12"))
        await asyncio.sleep(1.0)
        said = await asyncio.to_thread(place.did, "abort", "greeter", "--move")
        assert said == "1.0.0 Current 100 %, 1.1.0 Inactive\n"
        old.kill()  # in the middle of it
        await asyncio.sleep(1.0)
        await asyncio.to_thread(old.start)
        assert await long == "TASK_STATE_COMPLETED"
        await asyncio.sleep(5.0)
        moved = time.monotonic()
        await until("contexts after the move", lambda: sum(load.shares(moved).values()) > 40, 60)
        assert load.shares(moved).keys() == {"1.0.0"}
        assert await load.say(theirs) == "TASK_STATE_COMPLETED"
    assert not load.lost
    assert not load.failed
    assert load.answers[theirs] == {"1.0.0", "1.1.0"}
    assert all("1.1.0" in load.answers[context] for context in load.changed())
    new.kill()
    figures = json.loads(place.did("status", "greeter", "--json"))["figures"]
    assert all(one["open"] == 0 for one in figures)


async def test_work_of_a_version_waits_for_it_until_it_is_retired(place: World) -> None:
    old, new = place.host("1.0.0", "Greeter"), place.host("1.1.0", "Better")
    place.did("set", "greeter", "1.0.0=100")
    load = Load({"1.1.0": new})
    async with httpx.AsyncClient(trust_env=False, timeout=2, headers={"A2A-Version": "1.0"}) as load._http:
        await asyncio.sleep(1.0)
        assert await load.say("theirs") == "TASK_STATE_COMPLETED"
        assert load.answers["theirs"] == {"1.0.0"}
        old.kill()
        waiting = asyncio.create_task(load.say("theirs"))
        deadline = time.monotonic() + 90
        while "which no worker hosts" not in (await load._http.get(f"{new.url}/readyz")).text:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert not waiting.done()
        await asyncio.to_thread(place.did, "promote", "greeter", "1.1.0")
        await asyncio.sleep(2.0)
        assert not waiting.done(), "a version that drains was given to another"
        await asyncio.to_thread(old.start)
        assert await waiting == "TASK_STATE_COMPLETED"
        assert load.answers["theirs"] == {"1.0.0"}

        said = await asyncio.to_thread(place.did, "promote", "greeter", "1.1.0", "--drain", "20")
        assert said == "1.1.0 Current 100 %, 1.0.0 Drained\n"
        old.kill()
        last = asyncio.create_task(load.say("theirs"))
        await asyncio.sleep(5.0)
        assert not last.done(), "a version that has drained was given to another"
        said = await asyncio.to_thread(place.did, "retire", "greeter", "1.0.0")
        assert said == "1.1.0 Current 100 %\n"
        assert await last == "TASK_STATE_COMPLETED"
        assert load.answers["theirs"] == {"1.0.0", "1.1.0"}


async def test_ctrl_c_leaves_the_weights_and_the_same_command_goes_on(place: World) -> None:
    place.host("1.0.0", "Greeter")
    place.did("set", "greeter", "1.0.0=100")
    place.host("1.1.0", "Better")
    steps = ("--steps", "5,40:60s,100", "--analysis", "none")
    first = place.rollout("run", "greeter", "1.1.0", *steps)
    await within(place, **{"1.0.0": ("Current", 60), "1.1.0": ("Ramping", 40)})
    interrupt(first)
    assert first.wait(20) == 130
    assert await asyncio.to_thread(table, place) == {"1.0.0": ("Current", 60), "1.1.0": ("Ramping", 40)}
    again = await asyncio.to_thread(
        place.did, "run", "greeter", "1.1.0", "--steps", "5,40:1s,100", "--analysis", "none"
    )
    assert "5 %" not in again
    assert again.splitlines()[0] == "1.1.0 gets 40 % of the new contexts, 1.0.0 the rest"


async def test_a_host_that_starts_while_the_registry_is_away_knows_the_table(place: World) -> None:
    place.host("1.0.0", "Greeter")
    place.did("set", "greeter", "1.0.0=100")
    new = place.host("1.1.0", "Better")
    load = Load({"1.1.0": new})
    async with httpx.AsyncClient(trust_env=False, timeout=10, headers={"A2A-Version": "1.0"}) as load._http:
        place.registry.kill()
        new.kill()
        await asyncio.to_thread(new.start, "healthz")  # ready it is only once it is in the registry
        assert await load.say("one") == "TASK_STATE_COMPLETED"
        assert load.answers["one"] == {"1.0.0"}
