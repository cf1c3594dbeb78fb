"""How versions do, from the store: any replica says the same of all of them."""

import asyncio
import time

import pytest
from a2a.types import a2a_pb2 as pb
from stores import COMPLETED, INPUT, WORKING, append, message, take

from parley_registry.client import VersionFigures, figures_from, figures_json
from parley_runtime.measures import METRICS, MOST, measured
from parley_runtime.store import Append, NewEvent, Store, Work

Stores = tuple[Store, Store]
FAILED, CANCELED = 4, 5


async def ended(store: Store, work: Work, state: int, **measures: float) -> None:
    done = Append(
        work.task_id, work.epoch, work.number, 1, [NewEvent(b"{}", state, 1.0)], ends=True, measures=measures
    )
    assert (await store.append(done)).events


async def of(store: Store, version: str, since: float = 60.0) -> VersionFigures:
    return next(
        (one for one in await store.figures(since) if one.version == version), VersionFigures(version)
    )


async def test_of_an_agent_without_tasks_there_is_nothing_to_say(stores: Stores) -> None:
    assert list(await stores[0].figures(60)) == []


async def test_open_tasks_are_those_with_work_and_those_that_wait_for_their_client(stores: Stores) -> None:
    for n in range(4):
        await stores[0].accept(message(f"t{n}", new_context_id=f"c{n // 2}"))
    await stores[0].accept(message("other", version="2"))
    works = {work.task_id: work for work in await take(stores[0], "w1", limit=3)}
    await stores[0].append(append(works["t0"], 1, INPUT))
    await stores[0].finish("t0", works["t0"].epoch, 1)
    await stores[0].append(append(works["t1"], 1, WORKING))
    found = await of(stores[1], "1")
    assert (found.working, found.interrupted, found.open, found.contexts, found.workers) == (3, 1, 4, 2, 1)
    assert (await of(stores[1], "2")).open == 1


async def test_an_answered_question_makes_one_open_task_and_not_two(stores: Stores) -> None:
    await stores[0].accept(message())
    [work] = await take(stores[0])
    await stores[0].append(append(work, 1, INPUT))
    await stores[0].finish("t1", work.epoch, 1)
    await stores[0].accept(message(follow_up=True, message_id="m2"))
    found = await of(stores[1], "1")
    assert (found.working, found.interrupted) == (1, 0)


async def test_what_ended_is_counted_by_state_within_the_window(stores: Stores) -> None:
    for n, state in enumerate((COMPLETED, COMPLETED, FAILED, CANCELED)):
        await stores[0].accept(message(f"t{n}"))
        [work] = await take(stores[0])
        await ended(stores[0], work, state)
    found = await of(stores[1], "1")
    assert found.ended == {"completed": 2, "failed": 1, "canceled": 1}
    assert (found.judged, found.failed, found.open) == (3, 1, 0)
    await asyncio.sleep(0.3)
    assert (await of(stores[1], "1", since=0.2)).ended == {}


async def test_compacted_tasks_count_too(stores: Stores) -> None:
    for n in range(3):
        await stores[0].accept(message(f"t{n}"))
        [work] = await take(stores[0])
        await ended(stores[0], work, COMPLETED)
    while await stores[0].retain(0.0, 3600.0):
        pass
    found = await of(stores[1], "1")
    assert found.ended == {"completed": 3}
    assert len(found.durations) == 3


async def test_a_task_lasts_from_its_acceptance_to_its_end(stores: Stores) -> None:
    await stores[0].accept(message())
    await asyncio.sleep(0.3)
    [work] = await take(stores[0])
    await ended(stores[0], work, COMPLETED)
    [seconds] = (await of(stores[1], "1")).durations
    assert 0.3 <= seconds < 10


async def test_the_last_number_of_a_name_is_a_tasks_and_goes_with_it(stores: Stores) -> None:
    await stores[0].accept(message())
    [work] = await take(stores[0])
    await stores[0].append(
        Append("t1", work.epoch, 1, 1, [NewEvent(b"{}", WORKING, 1.0)], measures={"tokens": 1.0})
    )
    done = Append(
        "t1", work.epoch, 1, 2, [NewEvent(b"{}", COMPLETED, 1.0)], ends=True,
        measures={"tokens": 7.5, "score": 1.0},
    )  # fmt: skip
    await stores[0].append(done)
    assert (await of(stores[1], "1")).metrics == {"tokens": [7.5], "score": [1.0]}
    for _ in range(5):
        await stores[0].retain(0.0, 0.0)
    deadline = time.monotonic() + 5
    await stores[0].accept(message("newest"))  # SQLite spares the task of the newest event
    [work] = await take(stores[0])
    await ended(stores[0], work, COMPLETED)
    while (await of(stores[1], "1")).metrics:
        await stores[0].retain(0.0, 0.0)
        assert time.monotonic() < deadline


async def test_numbers_under_a_stale_lease_are_not_kept(stores: Stores) -> None:
    await stores[0].accept(message())
    [work] = await take(stores[0])
    stale = Append("t1", work.epoch - 1, 1, 1, [NewEvent(b"{}", WORKING, 1.0)], measures={"tokens": 1.0})
    assert not (await stores[0].append(stale)).events
    assert (await of(stores[1], "1")).metrics == {}


def test_figures_are_the_same_after_a_journey_as_json() -> None:
    told = VersionFigures("1.0.0", 2, 3, 1, 4, {"completed": 9}, (0.5, 1.5), {"tokens": (1.0, 2.0)})
    assert figures_from(figures_json(told)) == told
    assert figures_json(told)["duration"]["p95"] == 1.5


def reporting(told: object) -> pb.TaskStatusUpdateEvent:
    event = pb.TaskStatusUpdateEvent()
    event.metadata.update({METRICS: told})
    return event


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"tokens": 5, "score": 0.5}, {"tokens": 5.0, "score": 0.5}),
        ({"text": "x", "flag": True, "none": None, "many": [1], "": 1, "x" * 65: 1, "a\nb": 1}, {}),
        ({f"m{n:02}": n for n in range(99)}, {f"m{n:02}": float(n) for n in range(MOST)}),
        ("nonsense", {}),
        ([1, 2], {}),
    ],
)
def test_only_finite_numbers_with_plain_names_are_measures(told: object, kept: dict[str, float]) -> None:
    assert measured(reporting(told)) == kept


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_measure(value: float) -> None:
    event = pb.TaskStatusUpdateEvent()
    event.metadata.get_or_create_struct(METRICS)["bad"] = value
    assert measured(event) == {}


def test_other_events_report_nothing() -> None:
    assert measured(pb.Message()) == measured(pb.TaskStatusUpdateEvent()) == {}
