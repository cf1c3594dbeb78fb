"""What every queue promises (see `parley_runtime.queue`), on each backend."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parley_runtime.engines import Engines
from parley_runtime.queue import Queue
from parley_runtime.store import Work

sys.path.insert(0, str(Path(__file__).parent))
from engine_pairs import BACKENDS, VERSION, pair, settings, until
from stores import message


@pytest.fixture(params=BACKENDS)
async def engines(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Engines, Engines]]:
    async with pair(settings(request, request.param, tmp_path), f"q{uuid.uuid4().hex[:8]}") as both:
        yield both


class Attending:
    """A worker's ear on a queue, with a number of places."""

    def __init__(self, queue: Queue, places: int = 1) -> None:
        self.queue = queue
        self.places = places
        self.woken = 0
        queue.attend(self._wake, lambda: self.places)

    def _wake(self) -> None:
        self.woken += 1


def work(task: str, epoch: int = 1) -> Work:
    return Work(task, "c", "o", 1, "message", VERSION, b"", "", epoch, 1, 0.0)


async def accept(engines: Engines, task: str) -> None:
    """What an accepting process does: commit, then announce."""
    await engines.store.accept(message(task))
    engines.queue.announce(VERSION)


async def test_a_worker_of_another_process_hears_of_new_work(engines: tuple[Engines, Engines]) -> None:
    front, back = engines
    worker = Attending(back.queue)
    await accept(front, "t1")
    await until(lambda: worker.woken)


async def test_each_of_two_workers_with_one_place_hears_when_there_are_two_entries(
    engines: tuple[Engines, Engines],
) -> None:
    workers = [Attending(one.queue) for one in engines]
    await engines[0].store.accept(message("t1"))
    await engines[0].store.accept(message("t2"))
    engines[0].queue.announce(VERSION, 2)
    await until(lambda: all(worker.woken for worker in workers), within=20)


async def test_a_nudge_reaches_every_worker(engines: tuple[Engines, Engines]) -> None:
    workers = [Attending(one.queue, places=0) for one in engines]
    await asyncio.sleep(0.3)  # subscriptions of workers that have just begun
    for worker in workers:
        worker.woken = 0
    await engines[0].store.accept(message("t1"))
    await engines[0].store.request_cancel("t1", "o", b"r", "")
    engines[0].queue.nudge()
    await until(lambda: all(worker.woken for worker in workers))


async def test_a_worker_that_attends_no_more_is_not_woken(engines: tuple[Engines, Engines]) -> None:
    front, back = engines
    gone = Attending(back.queue)
    back.queue.attend(None, lambda: 0)
    gone.woken = 0
    await accept(front, "t1")
    front.queue.nudge()
    await asyncio.sleep(0.5)
    assert gone.woken == 0


async def test_work_goes_on_being_heard_of_through_begin_end_and_nothing(
    engines: tuple[Engines, Engines],
) -> None:
    front, back = engines
    worker = Attending(back.queue)
    for n in range(5):
        worker.woken = 0
        await accept(front, f"t{n}")
        await until(lambda: worker.woken)
        back.queue.begun(work(f"t{n}"))
        worker.places = 0
        await asyncio.sleep(0)
        worker.places = 1
        back.queue.ended(work(f"t{n}"))
        back.queue.nothing()


async def test_begun_ended_and_nothing_may_come_without_an_announcement(
    engines: tuple[Engines, Engines],
) -> None:
    queue = engines[0].queue
    Attending(queue)
    queue.nothing()
    queue.ended(work("never begun"))
    queue.begun(work("a"))
    queue.begun(work("a", epoch=2))
    queue.ended(work("a"))
    queue.ended(work("a", epoch=2))
    queue.nothing()
    assert queue.status() == ""


async def test_all_priorities_and_other_versions_are_announced_without_harm(
    engines: tuple[Engines, Engines],
) -> None:
    front, back = engines
    worker = Attending(back.queue, places=8)
    for priority in range(8):
        front.queue.announce(VERSION, priority=priority)
        front.queue.announce(f"other-{priority}", 3)
    await front.store.accept(message("t1"))
    await until(lambda: worker.woken)
    await asyncio.sleep(0.5)
    assert (front.queue.status(), back.queue.status()) == ("", "")
