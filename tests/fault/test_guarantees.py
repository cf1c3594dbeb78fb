"""The guarantees of docs/guarantees.md, with two or more processes on one store and real signals."""

import asyncio
import contextlib
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from replicas import Fleet, Replica, call, get, message, numbers, send, state, stream

pytestmark = pytest.mark.processes

Make = Callable[[str], Fleet]


async def collect(events, until: int | None = None) -> list[tuple[int, dict]]:
    seen = []
    async for number, event in events:
        seen.append((number, event))
        if until is not None and number >= until:
            break
    return seen


async def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        await asyncio.sleep(0.02)


async def ended(replica, task_id: str, seconds: float = 60) -> dict:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        task = await get(replica, task_id)
        if task["status"]["state"].removeprefix("TASK_STATE_") in (
            "COMPLETED",
            "FAILED",
            "CANCELED",
            "REJECTED",
        ):
            return task
        await asyncio.sleep(0.05)
    raise AssertionError(f"not ended in {seconds} s: {task['status']}")


async def freeze_between_commits(replica: Replica, file: Path) -> None:
    """Stop it with SIGSTOP, not amid a commit to an SQLite file: that lock is its until it goes on or dies."""
    for _ in range(50):
        replica.process.send_signal(signal.SIGSTOP)
        if writable(file):
            return
        replica.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.02)
    raise AssertionError("it was amid a commit each time")


def writable(file: Path) -> bool:
    """Whether nobody keeps the write lock of an SQLite file, if there is one, for half a second."""
    if not file.exists():
        return True
    with contextlib.closing(sqlite3.connect(file, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


async def test_a_stream_resumes_on_another_process_without_gap_or_repeat(fleet: Make) -> None:
    agents = fleet("Counter")
    one, two = agents.start(), agents.start()
    params = {"message": message("count 30 20")}
    async with stream(one, "SendStreamingMessage", params) as events:
        first = await collect(events, until=10)
    task_id = first[0][1]["task"]["id"]
    async with stream(two, "SubscribeToTask", {"id": task_id}, after=first[-1][0]) as events:
        rest = await collect(events)
    generations = [n for n, _ in first + rest]
    assert generations == list(range(1, len(generations) + 1))
    chunks = [
        e["artifactUpdate"]["artifact"]["parts"][0]["text"] for _, e in first + rest if "artifactUpdate" in e
    ]
    assert chunks == [str(n) for n in range(30)]
    assert state(rest[-1][1]) == "TASK_STATE_COMPLETED"


async def test_a_repeated_send_with_last_event_id_resumes_too(fleet: Make) -> None:
    agents = fleet("Counter")
    one, two = agents.start(), agents.start()
    params = {"message": message("count 20 20")}
    async with stream(one, "SendStreamingMessage", params) as events:
        first = await collect(events, until=5)
    async with stream(two, "SendStreamingMessage", params, after=first[-1][0]) as events:
        rest = await collect(events)
    assert [n for n, _ in first + rest] == list(range(1, 24))
    assert sum(line.endswith("start") for line in agents.effects) == 1


async def test_the_missed_tail_of_an_ended_task_is_replayed(fleet: Make) -> None:
    agents = fleet("Counter")
    one, two = agents.start(), agents.start()
    task = (await send(one, "count 5 1"))["result"]["task"]
    async with stream(two, "SubscribeToTask", {"id": task["id"]}, after=4) as events:
        assert [n for n, _ in await collect(events)] == [5, 6, 7, 8]
    refused = await call(two, "SubscribeToTask", {"id": task["id"]})
    assert refused["error"]["code"] == -32004


async def test_many_subscribers_on_both_processes_see_the_same_events(fleet: Make) -> None:
    agents = fleet("Counter")
    one, two = agents.start(), agents.start()
    task = (await send(one, "count 80 80", wait=False))["result"]["task"]

    async def watch(replica) -> list[tuple[int, dict]]:
        async with stream(replica, "SubscribeToTask", {"id": task["id"]}) as events:
            return await collect(events)

    seen = await asyncio.gather(*(watch(r) for r in (one, two, one, two)))
    for events in seen:
        assert "task" in events[0][1]
        assert [n for n, _ in events[1:]] == list(range(events[0][0] + 1, events[-1][0] + 1))
        assert state(events[-1][1]) == "TASK_STATE_COMPLETED"
    assert len({events[-1][0] for events in seen}) == 1


async def test_follow_up_and_answer_reach_a_parked_task_from_another_process(fleet: Make) -> None:
    agents = fleet("Asker")
    one, two = agents.start(), agents.start()
    asked = (await send(one, "go"))["result"]["task"]
    assert asked["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    done = (await send(two, "this one", taskId=asked["id"]))["result"]["task"]
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"
    assert done["contextId"] == asked["contextId"]
    assert [m["parts"][0]["text"] for m in done["history"]] == ["go", "which?", "this one"]


async def test_a_stream_of_a_follow_up_begins_with_the_task(fleet: Make) -> None:
    agents = fleet("Asker")
    one, two = agents.start(), agents.start()
    asked = (await send(one, "go"))["result"]["task"]
    async with stream(
        two, "SendStreamingMessage", {"message": message("this", taskId=asked["id"])}
    ) as events:
        seen = await collect(events)
    assert seen[0][1]["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert state(seen[-1][1]) == "TASK_STATE_COMPLETED"
    assert [n for n, _ in seen] == list(range(seen[0][0], seen[-1][0] + 1))


async def test_a_stream_ends_when_the_task_wants_input(fleet: Make) -> None:
    agents = fleet("Asker")
    one = agents.start()
    async with asyncio.timeout(60), stream(one, "SendStreamingMessage", {"message": message("go")}) as events:
        seen = await collect(events)
    assert state(seen[-1][1]) == "TASK_STATE_INPUT_REQUIRED"


async def test_cancel_reaches_the_worker_from_another_process(fleet: Make) -> None:
    agents = fleet("Counter")
    worker, front = agents.start(role="worker"), agents.start(role="front")
    task = (await send(front, "count 1000 20", wait=False))["result"]["task"]
    async with stream(front, "SubscribeToTask", {"id": task["id"]}) as events:
        await anext(events)
        await anext(events)
        cancelled = await call(front, "CancelTask", {"id": task["id"]})
        assert cancelled["result"]["status"]["state"] == "TASK_STATE_CANCELED"
        assert state((await collect(events))[-1][1]) == "TASK_STATE_CANCELED"
    assert f"{worker.process.pid} cancel" in agents.effects
    again = await call(front, "CancelTask", {"id": task["id"]})
    assert again["error"]["code"] == -32002


async def test_cancel_of_a_parked_task(fleet: Make) -> None:
    agents = fleet("Asker")
    one, two = agents.start(), agents.start()
    asked = (await send(one, "go"))["result"]["task"]
    cancelled = await call(two, "CancelTask", {"id": asked["id"]})
    assert cancelled["result"]["status"]["state"] == "TASK_STATE_CANCELED"


async def test_a_killed_worker_is_replaced_and_the_stream_goes_on(fleet: Make) -> None:
    agents = fleet("Counter")
    front, worker, spare = (
        agents.start(role="front"),
        agents.start(role="worker"),
        agents.start(role="worker"),
    )
    async with stream(front, "SendStreamingMessage", {"message": message("count 60 50")}) as events:
        seen = await collect(events, until=8)
        busy = worker if agents.effects[0].startswith(f"{worker.process.pid} ") else spare
        busy.kill()
        killed = time.monotonic()
        number, event = await anext(events)
        while number <= 8 or time.monotonic() - killed < 0.5:
            seen.append((number, event))
            number, event = await anext(events)
        seen.append((number, event))
        assert time.monotonic() - killed < 30
        seen += await collect(events)
    assert [n for n, _ in seen] == list(range(1, len(seen) + 1))
    chunks = [e["artifactUpdate"]["artifact"]["parts"][0]["text"] for _, e in seen if "artifactUpdate" in e]
    assert chunks == [str(n) for n in range(60)]
    assert [line.split()[1] for line in agents.effects] == ["start", "start", "end"]


async def test_a_killed_front_loses_nothing(fleet: Make) -> None:
    agents = fleet("Counter")
    front, other, _ = agents.start(role="front"), agents.start(role="front"), agents.start(role="worker")
    seen: list[tuple[int, dict]] = []
    with contextlib.suppress(httpx.TransportError):
        async with stream(front, "SendStreamingMessage", {"message": message("count 40 20")}) as events:
            async for number, event in events:
                seen.append((number, event))
                if number == 7:
                    front.kill()
    task_id = seen[0][1]["task"]["id"]
    async with stream(other, "SubscribeToTask", {"id": task_id}, after=seen[-1][0]) as events:
        seen += await collect(events)
    assert [n for n, _ in seen] == list(range(1, len(seen) + 1))
    assert len(numbers(await get(other, task_id))) == 40
    assert sum(line.endswith("start") for line in agents.effects) == 1


async def test_a_message_accepted_before_every_process_died_is_executed_afterwards(fleet: Make) -> None:
    agents = fleet("Counter")
    front = agents.start(role="front")
    task = (await send(front, "count 3 1", wait=False))["result"]["task"]
    front.kill()
    assert agents.effects == []
    both = agents.start()
    done = await ended(both, task["id"])
    assert numbers(done) == ["0", "1", "2"]


async def test_a_hung_worker_is_fenced_and_does_no_harm_when_it_wakes(fleet: Make) -> None:
    agents = fleet("Counter")
    front, worker, spare = (
        agents.start(role="front"),
        agents.start(role="worker"),
        agents.start(role="worker"),
    )
    task = (await send(front, "count 40 50", wait=False))["result"]["task"]
    await until(lambda: len(agents.effects) > 0)
    await asyncio.sleep(0.3)
    busy, idle = (
        (worker, spare) if agents.effects[0].startswith(f"{worker.process.pid} ") else (spare, worker)
    )
    await freeze_between_commits(busy, agents.home / "agent.db")
    await until(lambda: len(agents.effects) > 1)
    busy.process.send_signal(signal.SIGCONT)
    done = await ended(front, task["id"])
    assert numbers(done) == [str(n) for n in range(40)]
    assert agents.effects[1] == f"{idle.process.pid} start"
    assert sum(line.endswith("end") for line in agents.effects) == 1
    assert busy.process.poll() is None
    assert "another worker" in busy.log.read_text()


async def test_one_message_id_is_one_task_however_often_and_wherever_it_is_sent(fleet: Make) -> None:
    agents = fleet("Counter")
    one, two = agents.start(), agents.start()
    body = {"message": message("count 3 20")}
    answers = await asyncio.gather(*(call(r, "SendMessage", body) for r in (one, two) * 4))
    assert len({a["result"]["task"]["id"] for a in answers}) == 1
    assert {a["result"]["task"]["status"]["state"] for a in answers} == {"TASK_STATE_COMPLETED"}
    assert sum(line.endswith("start") for line in agents.effects) == 1
    other = {"message": {**body["message"], "parts": [{"text": "count 4 20"}]}}
    refused = await call(two, "SendMessage", other)
    assert refused["error"]["code"] == -32602
    assert "messageId" in refused["error"]["message"]
    assert sum(line.endswith("start") for line in agents.effects) == 1


async def test_finished_steps_are_not_run_again_after_a_takeover(fleet: Make) -> None:
    agents = fleet("Stepper")
    front, worker, spare = (
        agents.start(role="front"),
        agents.start(role="worker"),
        agents.start(role="worker"),
    )
    task = (await send(front, "go", wait=False))["result"]["task"]
    await until(lambda: len(agents.effects) > 0)
    await asyncio.sleep(0.3)
    first = worker if agents.effects[0].startswith(f"{worker.process.pid} ") else spare
    first.kill()
    done = await ended(front, task["id"])
    assert [line.split()[1] for line in agents.effects] == ["first", "second"]
    texts = {a["artifactId"]: a["parts"][0]["text"] for a in done["artifacts"]}
    assert texts["first"] == f"first by {first.process.pid}"
    assert texts["second"] != f"second by {first.process.pid}"


async def test_sigterm_hands_long_work_over_at_once_and_finishes_short_work(fleet: Make) -> None:
    agents = fleet("Counter")
    front = agents.start(role="front")
    pair = [agents.start(role="worker", drain="1") for _ in range(2)]
    async with stream(front, "SendStreamingMessage", {"message": message("count 100 50")}) as events:
        seen = await collect(events, until=6)
        busy, spare = sorted(pair, key=lambda r: not agents.effects[0].startswith(f"{r.process.pid} "))
        stopping = time.monotonic()
        assert await asyncio.to_thread(busy.stop) == 0
        assert time.monotonic() - stopping < 20
        seen += await collect(events)
    assert [n for n, _ in seen] == list(range(1, len(seen) + 1))
    assert state(seen[-1][1]) == "TASK_STATE_COMPLETED"
    assert agents.effects[-1] == f"{spare.process.pid} end"
    short = (await send(front, "count 10 50", wait=False))["result"]["task"]
    await until(lambda: agents.effects[-1] == f"{spare.process.pid} start")
    assert await asyncio.to_thread(spare.stop) == 0
    assert (await get(front, short["id"]))["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_draining_front_ends_its_streams_so_that_clients_move_on(fleet: Make) -> None:
    agents = fleet("Counter")
    leaving, staying, _ = agents.start(role="front"), agents.start(role="front"), agents.start(role="worker")
    async with stream(leaving, "SendStreamingMessage", {"message": message("count 80 50")}) as events:
        seen = await collect(events, until=5)
        stopping = asyncio.create_task(asyncio.to_thread(leaving.stop))
        seen += await collect(events)
    assert await stopping == 0
    async with stream(
        staying, "SubscribeToTask", {"id": seen[0][1]["task"]["id"]}, after=seen[-1][0]
    ) as events:
        seen += await collect(events)
    assert [n for n, _ in seen] == list(range(1, len(seen) + 1))


async def test_an_executor_that_blocks_its_loop_keeps_its_lease(fleet: Make) -> None:
    agents = fleet("Blocker")
    one = agents.start(lease="1")
    agents.start(lease="1")
    done = (await send(one, "go"))["result"]["task"]
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"
    assert len(agents.effects) == 1


async def test_a_message_whose_worker_dies_every_time_fails_with_the_reason(fleet: Make) -> None:
    agents = fleet("Crasher")
    front = agents.start(role="front")
    task = (await send(front, "go", wait=False))["result"]["task"]
    for _ in range(2):
        worker = agents.start(role="worker", doomed=True, max_attempts="2")
        worker.process.wait(15)
    agents.start(role="worker", max_attempts="2")
    failed = await ended(front, task["id"])
    assert failed["status"]["state"] == "TASK_STATE_FAILED"
    assert "2 attempts" in failed["status"]["message"]["parts"][0]["text"]
    assert len(agents.effects) == 2


async def test_an_executor_may_declare_that_it_is_not_run_again(fleet: Make) -> None:
    agents = fleet("CrashesOnce")
    front = agents.start(role="front")
    task = (await send(front, "go", wait=False))["result"]["task"]
    agents.start(role="worker", doomed=True).process.wait(15)
    agents.start(role="worker")
    failed = await ended(front, task["id"])
    assert "does not retry" in failed["status"]["message"]["parts"][0]["text"]
    assert len(agents.effects) == 1


async def test_what_an_executor_raises_ends_its_exchange_with_the_reason(fleet: Make) -> None:
    agents = fleet("Thrower")
    one, two = agents.start(), agents.start()
    protocol = await send(one, "protocol")
    assert (protocol["error"]["code"], protocol["error"]["message"]) == (-32602, "no such city")
    assert (await call(two, "ListTasks", {}))["result"]["totalSize"] == 0
    late = (await send(one, "late-protocol"))["result"]["task"]
    assert late["status"]["message"]["parts"][0]["text"] == "no such street"
    broken = (await send(one, "boom"))["result"]["task"]
    assert "out of order" in broken["status"]["message"]["parts"][0]["text"]
    silent = (await send(one, "nothing"))["result"]["task"]
    assert silent["status"]["state"] == "TASK_STATE_FAILED"
    answer = await send(one, "message")
    assert answer["result"]["message"]["parts"][0]["text"] == "just this"
    left_open = (await send(one, "open"))["result"]["task"]
    assert left_open["status"]["state"] == "TASK_STATE_WORKING"


async def test_a_refused_cancel_says_why(fleet: Make) -> None:
    agents = fleet("Thrower")
    one = agents.start()
    task = (await send(one, "open"))["result"]["task"]
    refused = await call(one, "CancelTask", {"id": task["id"]})
    assert refused["error"]["code"] == -32002
    assert "cannot stop this" in refused["error"]["message"]


async def test_an_answer_by_message_alone_is_found_again_by_its_message_id(fleet: Make) -> None:
    agents = fleet("Thrower")
    one, two = agents.start(), agents.start()
    body = {"message": message("message")}
    first = await call(one, "SendMessage", body)
    again = await call(two, "SendMessage", body)
    assert first["result"] == again["result"]
