"""What every bus promises (see `parley_runtime.bus`), on each backend: the store's log is heard of, and nothing is lost
without the reader being told to look there."""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from a2a.types import a2a_pb2 as pb

from parley_runtime.bus import Subscription, Wake
from parley_runtime.engines import Engines
from parley_runtime.store import Append, LoggedEvent, NewEvent, Work

sys.path.insert(0, str(Path(__file__).parent))
from engine_pairs import BACKENDS, VERSION, pair, settings
from stores import COMPLETED, WORKING, message


@pytest.fixture(params=BACKENDS)
async def engines(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Engines, Engines]]:
    """First a worker's process, then a front's."""
    async with pair(settings(request, request.param, tmp_path), f"b{uuid.uuid4().hex[:8]}") as both:
        yield both


class Writer:
    """A task under execution: commits, then publishes, as an executor's log does."""

    def __init__(self, engines: Engines, work: Work) -> None:
        self._engines = engines
        self._work = work
        self._next = 1

    @classmethod
    async def begin(cls, engines: Engines, task: str = "t1", context: str = "c") -> "Writer":
        await engines.store.register_worker("w", VERSION, 30)
        accepted = await engines.store.accept(message(task, new_context_id=context, first=None), take_as="w")
        assert accepted.work is not None
        return cls(engines, accepted.work)

    async def say(self, *bodies: bytes, ends: bool = False, task: pb.Task | None = None) -> Wake:
        state = COMPLETED if ends else WORKING
        work = self._work
        events = [NewEvent(body, state) for body in bodies]
        appended = await self._engines.store.append(
            Append(work.task_id, work.epoch, work.number, self._next, events, ends=ends)
        )
        self._next += len(bodies)
        wake = Wake(appended.events, task)
        self._engines.bus.publish(work.task_id, work.context_id, wake)
        return wake


async def follow(engines: Engines, ear: Subscription, upto: int, task: str = "t1") -> list[LoggedEvent]:
    """What a reader makes of its wakes: the log up to a generation, asking the store only when told to look or when
    there is a gap. Fails when it is not told in time."""
    log: list[LoggedEvent] = []
    deadline = time.monotonic() + 20
    while len(log) < upto:
        assert time.monotonic() < deadline, f"heard of {len(log)} events of {upto}"
        wake = await ear.next(5.0)
        if wake is None:
            continue
        new = [e for e in wake.events if e.generation > len(log)]
        if not wake.events or (new and new[0].generation != len(log) + 1):
            new = list(await engines.store.events(task, len(log)))
        log += new
    assert [e.generation for e in log] == list(range(1, upto + 1))
    return log


async def test_a_reader_in_another_process_hears_all_events_in_order(
    engines: tuple[Engines, Engines],
) -> None:
    back, front = engines
    writer = await Writer.begin(back)
    ear = front.bus.subscribe("t1", "c")
    said = [await writer.say(b'{"n":%d}' % n) for n in range(30)]
    said.append(await writer.say(b'{"end":1}', b'{"end":2}', ends=True))
    log = await follow(front, ear, 32)
    assert log == [event for wake in said for event in wake.events]
    assert await back.store.events("t1", 0) == log
    ear.close()


async def test_a_reader_in_this_process_hears_at_once(engines: tuple[Engines, Engines]) -> None:
    back, _ = engines
    writer = await Writer.begin(back)
    ear = back.bus.subscribe("t1", "c")
    while await ear.next(0.5):  # that it has begun to hear
        pass
    wake = await writer.say(b"{}", ends=True, task=pb.Task(id="t1"))
    heard = await ear.next(0.0)
    assert heard is not None
    assert (list(heard.events), heard.task) == (list(wake.events), pb.Task(id="t1"))
    ear.close()


async def test_a_reader_that_comes_late_is_told_of_nothing_it_must_not_miss(
    engines: tuple[Engines, Engines],
) -> None:
    """It listens, reads the store, and then lives from what it hears."""
    back, front = engines
    writer = await Writer.begin(back)
    for n in range(10):
        await writer.say(b"%d" % n)
        if n == 4:
            ear = front.bus.subscribe("t1", "c")
    log = list(await front.store.events("t1", 0))
    await writer.say(b"10")
    while len(log) < 11:
        wake = await ear.next(10.0)
        assert wake is not None, "not told of an event that was committed after it listened"
        log += await front.store.events("t1", len(log))
    ear.close()


async def test_a_wake_without_events_reaches_other_processes(engines: tuple[Engines, Engines]) -> None:
    back, front = engines
    writer = await Writer.begin(back)
    ear = front.bus.subscribe("t1", "c")
    await writer.say(b"1")
    await follow(front, ear, 1)
    while await ear.next(0.3):
        pass
    await back.store.finish("t1", 1, 1)
    back.bus.publish("t1", "c", Wake())
    assert await ear.next(10.0) is not None
    ear.close()


async def test_a_closed_subscription_leaves_the_others_be(engines: tuple[Engines, Engines]) -> None:
    back, front = engines
    writer = await Writer.begin(back)
    first, second = (front.bus.subscribe("t1", "c") for _ in range(2))
    await writer.say(b"1")
    await follow(front, first, 1)
    first.close()
    first.close()
    await writer.say(b"2")
    await follow(front, second, 2)
    second.close()
    third = front.bus.subscribe("t1", "c")
    await writer.say(b"3")
    await follow(front, third, 3)
    third.close()


async def test_tasks_of_one_context_are_told_apart(engines: tuple[Engines, Engines]) -> None:
    back, front = engines
    one, two = await Writer.begin(back, "t1"), await Writer.begin(back, "t2")
    ears = [front.bus.subscribe(task, "c") for task in ("t1", "t2")]
    for n in range(10):
        await asyncio.gather(one.say(b'{"one":%d}' % n), two.say(b'{"two":%d}' % n))
    first, second = await asyncio.gather(follow(front, ears[0], 10), follow(front, ears[1], 10, "t2"))
    assert {e.body[2:5] for e in first} == {b"one"}
    assert {e.body[2:5] for e in second} == {b"two"}
    for ear in ears:
        ear.close()


@pytest.mark.parametrize("context", ["", "a b", "Größe/x?", "c" * 300, "%LMQ%$x", "line\nbreak"])
async def test_a_context_may_have_any_name(engines: tuple[Engines, Engines], context: str) -> None:
    back, front = engines
    writer = await Writer.begin(back, context=context)
    ear = front.bus.subscribe("t1", context)
    await writer.say(b"1")
    await writer.say(b"2")
    await follow(front, ear, 2)
    ear.close()


async def test_large_events_are_heard_of_too(engines: tuple[Engines, Engines]) -> None:
    back, front = engines
    writer = await Writer.begin(back)
    ear = front.bus.subscribe("t1", "c")
    bodies = [b'"' + b"x" * size + b'"' for size in (10, 9_000, 200_000, 200_000, 2_000_000, 10)]
    for body in bodies:
        await writer.say(body)
    await writer.say(*bodies)
    log = await follow(front, ear, 12)
    assert [len(e.body) for e in log] == [len(body) for body in bodies] * 2
    ear.close()


async def test_a_reader_that_stops_reading_holds_little_and_is_told_to_look(
    engines: tuple[Engines, Engines],
) -> None:
    back, front = engines
    writer = await Writer.begin(back)
    ear = front.bus.subscribe("t1", "c")
    for n in range(40):
        await writer.say(*[b'{"n":%d}' % n] * 25)
    await follow(front, ear, 1000)
    ear.close()


async def test_many_sessions_at_once_stay_apart_and_whole(engines: tuple[Engines, Engines]) -> None:
    back, front = engines
    writers = [await Writer.begin(back, f"t{n}", f"c{n}") for n in range(40)]
    ears = [front.bus.subscribe(f"t{n}", f"c{n}") for n in range(40)]
    for n in range(5):
        await asyncio.gather(*(writer.say(b'{"n":%d}' % n) for writer in writers))
    await asyncio.gather(*(follow(front, ear, 5, f"t{n}") for n, ear in enumerate(ears)))
    assert front.bus.status() == ""
    for ear in ears:
        ear.close()
