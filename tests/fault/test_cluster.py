"""What a cluster on PostgreSQL stands: clocks that differ, a database that goes away, replicas that come and go."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicas import Fleet, Replica, call, fleet_of, get, message, numbers, send, state, stream

from engines.postgres import Postgres

pytestmark = pytest.mark.slow
Make = Callable[[str], Fleet]
TRACE = "/parley/v1/tasks/{}/trace"


async def ended(replica: Replica, task_id: str, seconds: float = 40) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    task: dict[str, Any] = {}
    while time.monotonic() < deadline:
        answer = await call(replica, "GetTask", {"id": task_id})
        task = answer.get("result", task)
        if task and task["status"]["state"] in ("TASK_STATE_COMPLETED", "TASK_STATE_FAILED"):
            return task
        await asyncio.sleep(0.1)
    raise AssertionError(f"not ended in {seconds} s: {task}")


def attempts(replica: Replica, task_id: str) -> list[int]:
    """How often each work entry of a task was begun and counted."""
    trace = httpx.get(f"http://127.0.0.1:{replica.port}{TRACE.format(task_id)}", timeout=10).json()
    return [work["attempt"] for work in trace["work"]]


async def until_effects(agents: Fleet, count: int, seconds: float = 60) -> None:
    """Wait until executors have left so many marks."""
    deadline = time.monotonic() + seconds
    while len(agents.effects) < count:
        assert time.monotonic() < deadline, agents.effects
        await asyncio.sleep(0.05)


async def until_ready(replica: Replica, ready: bool, seconds: float) -> float:
    """Wait until it is ready, or is not; how many seconds that took."""
    began = time.monotonic()
    while await asyncio.to_thread(replica.ready) is not ready:
        assert time.monotonic() - began < seconds, f"not {ready} within {seconds} s"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def test_clocks_that_differ_by_hours_do_no_harm(on_postgres: Make) -> None:
    agents = on_postgres("Counter")
    front = agents.spawn("front", environment={"CLOCK_AHEAD": "3600"})
    late = agents.spawn("worker", environment={"CLOCK_AHEAD": "-3600"})
    early = agents.spawn("worker", environment={"CLOCK_AHEAD": "3600"})
    for replica in (front, late, early):
        replica.wait_ready()
    asked = [await send(front, "count 40 100", wait=False) for _ in range(4)]
    ids = [answer["result"]["task"]["id"] for answer in asked]
    for task_id in ids:  # each runs for twice its lease, and nobody takes another's
        assert numbers(await ended(front, task_id)) == [str(n) for n in range(40)]
        assert attempts(front, task_id) == [1]
    assert sum(line.endswith("start") for line in agents.effects) == 4

    task_id = (await send(front, "count 60 100", wait=False))["result"]["task"]["id"]
    await until_effects(agents, 9)
    busy = late if agents.effects[8].startswith(f"{late.process.pid} ") else early
    busy.kill()
    await until_effects(agents, 10)
    assert numbers(await ended(front, task_id)) == [str(n) for n in range(60)]


async def test_a_database_that_is_gone_is_told_at_once_and_all_goes_on_when_it_is_back(
    tmp_path: Path, own_postgres: Callable[..., Postgres]
) -> None:
    server = own_postgres()
    with fleet_of(tmp_path, "Counter", {"store": server.dsn}) as agents:
        front, worker = agents.spawn("front"), agents.spawn("worker")
        for replica in (front, worker):
            replica.wait_ready()
        running = (await send(front, "count 60 100", wait=False))["result"]["task"]["id"]
        await asyncio.sleep(0.5)
        server.kill()
        await until_ready(front, False, 60)
        later = {"message": message("count 3 1"), "configuration": {"returnImmediately": True}}
        for method, params in (("SendMessage", later), ("GetTask", {"id": running})):
            began = time.monotonic()
            refused = await call(front, method, params)
            assert time.monotonic() - began < 40
            assert refused["error"]["data"][0]["reason"] == "UNAVAILABLE", refused
            assert "again" in refused["error"]["message"]
        server.start()
        await until_ready(front, True, 60)
        accepted = (await call(front, "SendMessage", later))["result"]["task"]["id"]
        assert numbers(await ended(front, accepted)) == ["0", "1", "2"]
        assert numbers(await ended(front, running)) == [str(n) for n in range(60)]


async def test_what_a_step_made_while_the_database_was_away_is_kept(
    tmp_path: Path, own_postgres: Callable[..., Postgres]
) -> None:
    server = own_postgres()
    with fleet_of(tmp_path, "Stepper", {"store": server.dsn, "lease": "8"}) as agents:
        both = agents.start()
        task_id = (await send(both, "go", wait=False))["result"]["task"]["id"]
        await until_effects(agents, 1)
        await asyncio.sleep(0.5)
        server.kill()
        await until_effects(agents, 2)
        await asyncio.sleep(0.5)
        server.start()
        assert (await ended(both, task_id))["status"]["state"] == "TASK_STATE_COMPLETED"
        assert [line.split()[1] for line in agents.effects] == ["first", "second"]
        assert attempts(both, task_id) == [1]


async def test_a_database_that_stands_still_holds_nobody_for_long(
    tmp_path: Path, own_postgres: Callable[..., Postgres]
) -> None:
    server = own_postgres()
    with fleet_of(tmp_path, "Counter", {"store": server.dsn}) as agents:
        both = agents.start()
        task_id = (await send(both, "count 3 1"))["result"]["task"]["id"]
        server.pause()
        began = time.monotonic()
        answers = await asyncio.gather(
            call(both, "GetTask", {"id": task_id}, 40),
            call(both, "ListTasks", {}, 40),
            call(both, "CancelTask", {"id": task_id}, 40),
            call(both, "SendMessage", {"message": message("count 3 1")}, 40),
        )
        assert time.monotonic() - began < 38
        assert [a["error"]["data"][0]["reason"] for a in answers] == ["UNAVAILABLE"] * 4, answers
        assert not both.ready()
        server.resume()
        await until_ready(both, True, 60)
        assert (await get(both, task_id))["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_fronts_and_workers_go_from_one_to_three_and_back_and_nothing_is_lost(
    on_postgres: Make,
) -> None:
    agents = on_postgres("Counter")
    first = [agents.start(role="front"), agents.start(role="worker", drain="1", concurrency="8")]
    fronts, ids, enough = [first[0]], list[str](), asyncio.Event()

    async def load() -> None:
        while not enough.is_set():
            answer = await send(fronts[-1], "count 20 100", wait=False)
            ids.append(answer["result"]["task"]["id"])
            await asyncio.sleep(0.4)

    loading = asyncio.create_task(load())
    more = [agents.spawn(role, drain="1", concurrency="8") for role in ("front", "worker") * 2]
    for replica in more:
        await asyncio.to_thread(replica.wait_ready)
    fronts.append(more[2])
    async with stream(more[0], "SendStreamingMessage", {"message": message("count 150 100")}) as events:
        seen = [await anext(events)]
    ids.append(seen[0][1]["task"]["id"])
    # All that were there first go, and one of each that came: one front and one worker are left.
    for replica in (*first, *more[:2]):
        assert await asyncio.to_thread(replica.stop, 30) == 0
    enough.set()
    await loading
    for task_id in ids:
        done = await ended(fronts[-1], task_id, 90)
        assert len(numbers(done)) in (20, 150)
        assert attempts(fronts[-1], task_id) == [1]
    async with stream(fronts[-1], "SubscribeToTask", {"id": seen[0][1]["task"]["id"]}, after=1) as events:
        seen += [event async for event in events]
    assert [number for number, _ in seen] == list(range(1, seen[-1][0] + 1))
    assert state(seen[-1][1]) == "TASK_STATE_COMPLETED"
    assert len(agents.effects) >= 2 * len(ids)
