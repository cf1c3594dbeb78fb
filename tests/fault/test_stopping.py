"""How a host leaves: not ready first, then no new calls, then no streams, then no work; and at once if told again."""

import asyncio
import signal
import time
from collections.abc import Callable

import httpx
import pytest
from replicas import HEADERS, Fleet, Replica, get, message, request, send, stream

pytestmark = pytest.mark.processes

Make = Callable[[str], Fleet]


async def said(replica: Replica, words: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while words not in replica.log.read_text():
        assert time.monotonic() < deadline, f"{words!r} was not said:\n{replica.log.read_text()}"
        await asyncio.sleep(0.02)


async def is_unready(replica: Replica) -> None:
    deadline = time.monotonic() + 5
    while await asyncio.to_thread(replica.ready):
        assert time.monotonic() < deadline, "it still says that it is ready"
        await asyncio.sleep(0.02)


async def test_a_front_that_is_told_to_stop_takes_calls_until_load_balancers_know(fleet: Make) -> None:
    agents = fleet("Counter")
    leaving, other = agents.start(drain_delay="3", drain="1"), agents.start()
    async with (
        stream(leaving, "SendStreamingMessage", {"message": message("count 600 50")}) as events,
        httpx.AsyncClient(timeout=20) as kept,
    ):
        number, first = await anext(events)
        leaving.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        await is_unready(leaving)
        assert "result" in await send(leaving, "count 1 1")
        while True:  # what stays connected is asked to go elsewhere, while it is still answered
            answer = await kept.post(
                leaving.rpc,
                content=request("SendMessage", {"message": message("count 1 1")}),
                headers=HEADERS,
            )
            assert "result" in answer.json()
            if answer.headers.get("connection") == "close":
                break
            assert time.monotonic() - told < 3
        seen = [number, *[n async for n, _ in events]]
    assert time.monotonic() - told > 2.5
    assert seen == list(range(1, len(seen) + 1))
    assert await asyncio.to_thread(leaving.process.wait, 20) == 0
    task_id = first["task"]["id"]
    assert (await get(other, task_id))["status"]["state"] == "TASK_STATE_WORKING"
    log = leaving.log.read_text()
    for words in (
        "listening for another 3 s; 1 streams and 1 executions are open",
        "no more calls are taken; 1 streams end",
        "1 executions may go on for 1 s",
        "0 executions have ended, 1 are handed over",
    ):
        assert words in log, log


async def test_without_a_delay_the_port_closes_at_once(fleet: Make) -> None:
    host = fleet("Counter").start(drain="0")
    host.process.send_signal(signal.SIGTERM)
    await said(host, "no more calls are taken")
    assert await asyncio.to_thread(host.process.wait, 10) == 0
    assert "listening for another 0 s; 0 streams and 0 executions" in host.log.read_text()


async def test_told_twice_a_host_waits_for_nothing_and_still_hands_its_work_over(fleet: Make) -> None:
    agents = fleet("Counter")
    host = agents.start(drain_delay="60", drain="60", lease="60")
    task = (await send(host, "count 2000 50", wait=False))["result"]["task"]
    other = agents.start(lease="60")
    host.process.send_signal(signal.SIGTERM)
    await said(host, "listening for another 60 s")
    host.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(host.process.wait, 15) == 0
    deadline = time.monotonic() + 30  # sooner than a lease runs out
    while len(agents.effects) < 2:
        assert time.monotonic() < deadline, "nobody went on with it"
        await asyncio.sleep(0.02)
    assert (await get(other, task["id"]))["status"]["state"] == "TASK_STATE_WORKING"
