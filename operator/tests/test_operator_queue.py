"""The queue of what is to be looked at."""

import asyncio

import pytest

from parley_operator.queue import WorkQueue


async def soon(queue: WorkQueue[str]) -> str:
    return await asyncio.wait_for(queue.take(), 30)


async def nothing(queue: WorkQueue[str], seconds: float = 0.05) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.take(), seconds)


async def test_a_key_stands_once_in_the_queue() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    queue.add("a")
    assert await soon(queue) == "a"
    queue.done("a")
    await nothing(queue)


async def test_a_key_that_is_added_while_it_is_worked_on_comes_once_more_and_not_before_that_ended() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    await soon(queue)
    queue.add("a")
    queue.add("a")
    await nothing(queue)
    queue.done("a")
    assert await soon(queue) == "a"
    queue.done("a")
    await nothing(queue)


async def test_several_workers_get_different_keys() -> None:
    queue = WorkQueue[str]()
    workers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.wait_for(asyncio.gather(*workers), 30)) == ["a", "b", "c"]


async def test_a_later_key_comes_in_time_and_sooner_when_it_is_added() -> None:
    queue = WorkQueue[str]()
    queue.add_later("a", 0.1)
    queue.add_later("b", 60)
    await nothing(queue, 0.03)
    assert await soon(queue) == "a"
    queue.done("a")
    queue.add("b")
    assert await soon(queue) == "b"
    queue.done("b")
    queue.add_later("c", 60)
    queue.add_later("c", 0.05)
    assert await soon(queue) == "c"


async def test_a_key_that_fails_comes_ever_later_until_it_goes_well() -> None:
    queue = WorkQueue[str](first=1, most=8)
    pauses = [queue.failed("a") for _ in range(6)]
    assert 0.5 <= pauses[0] <= 1
    assert 1 <= pauses[1] <= 2
    assert 4 <= pauses[5] <= 8
    queue.succeeded("a")
    assert queue.failed("a") <= 1


async def test_what_was_to_come_is_forgotten_when_it_is_cleared() -> None:
    queue = WorkQueue[str]()
    queue.add("a")
    queue.add_later("b", 0.01)
    queue.clear()
    await nothing(queue)
