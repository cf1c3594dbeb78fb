"""What every store lets go of, and what it keeps."""

import pytest
from a2a.types import a2a_pb2 as pb
from stores import COMPLETED, INPUT, WORKING, append, message, take

from parley_runtime.store import ERROR, MESSAGE, StepRecord, Store, TaskFilter, Work
from parley_runtime.task import fold

Stores = tuple[Store, Store]
NOW, NEVER = -1.0, 1e9


async def until_done(store: Store, events: float, tasks: float) -> None:
    for _ in range(50):
        if not await store.retain(events, tasks):
            return
    raise AssertionError("retain finds something to do again and again")


async def ended(store: Store, name: str, **changes: object) -> Work:
    """A task that ended after three events and a step."""
    await store.accept(message(name, **changes))
    [work] = await take(store)
    await store.record_step(name, work.epoch, 1, StepRecord("s", b"1", 1.0, 2.0))
    await store.append(append(work, 1, WORKING, WORKING))
    task = pb.Task(id=name, context_id="c", status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED))
    await store.append(append(work, 3, COMPLETED, ends=True, snapshot=task.SerializeToString()))
    return work


async def newest(store: Store) -> None:
    """A task that goes on, so that the log has a later event than those that go."""
    await store.accept(message("live"))
    [work] = await take(store)
    await store.append(append(work, 1, WORKING))


async def test_the_log_of_a_task_that_ended_long_ago_goes_and_its_result_stays(stores: Stores) -> None:
    await ended(stores[0], "old")
    await newest(stores[0])
    await until_done(stores[1], NOW, NEVER)
    stored = await stores[0].load("old")
    assert stored is not None
    assert (stored.generation, stored.log_from, stored.tail) == (3, 4, [])
    task = fold(stored)
    assert task is not None
    assert task.status.state == pb.TASK_STATE_COMPLETED
    assert list(await stores[0].events("old", 0)) == []
    assert list(await stores[0].steps("old", 1)) == []
    trace = await stores[0].trace("old", "o")
    assert trace is not None
    assert [record.attempt for record in trace.work] == [1]


async def test_what_still_runs_or_waits_for_input_is_left_alone(stores: Stores) -> None:
    await stores[0].accept(message("parked"))
    [work] = await take(stores[0])
    await stores[0].append(append(work, 1, INPUT))
    await stores[0].finish("parked", work.epoch, 1)
    await newest(stores[0])
    await until_done(stores[1], NOW, NOW)
    assert len(await stores[0].events("parked", 0)) == 1
    assert len(await stores[0].events("live", 0)) == 1


async def test_a_task_is_forgotten_wholly_and_its_message_id_is_free_again(stores: Stores) -> None:
    config = pb.TaskPushNotificationConfig(id="c", task_id="old", url="https://example.org/")
    await ended(stores[0], "old", push=config.SerializeToString())
    await newest(stores[0])
    await until_done(stores[1], NOW, NOW)
    assert await stores[0].load("old") is None
    assert await stores[0].trace("old", "o") is None
    assert (await stores[0].list_tasks(TaskFilter("o"))).total == 1
    assert not (await stores[0].accept(message("again", message_id="m-old"))).duplicate


async def test_a_repeat_is_recognised_for_as_long_as_the_task_is_kept(stores: Stores) -> None:
    await ended(stores[0], "old")
    await newest(stores[0])
    await until_done(stores[1], NOW, NEVER)
    again = await stores[0].accept(message("other", message_id="m-old"))
    assert (again.duplicate, again.task_id) == (True, "old")


@pytest.mark.parametrize("state", [MESSAGE, ERROR])
async def test_an_answer_without_a_task_is_kept_as_long_as_a_task(stores: Stores, state: int) -> None:
    await stores[0].accept(message("old"))
    [work] = await take(stores[0])
    await stores[0].append(append(work, 1, state, ends=True))
    await newest(stores[0])
    await until_done(stores[0], NOW, NEVER)
    assert [event.state for event in await stores[1].events("old", 0)] == [state]
    await until_done(stores[0], NOW, NOW)
    assert await stores[1].load("old") is None


async def test_a_context_forgets_its_version_with_its_last_task(stores: Stores) -> None:
    await ended(stores[0], "one", context_id="ctx")
    await ended(stores[0], "two", context_id="ctx", message_id="m2")
    await stores[0].accept(message("open", context_id="ctx"))
    await newest_but(stores[0], "open")
    await until_done(stores[1], NOW, NOW)
    await stores[0].accept(message("pinned", context_id="ctx", version="2"))
    await stores[0].accept(message("free", context_id="elsewhere", version="2"))
    pinned, free = await stores[0].load("pinned"), await stores[0].load("free")
    assert pinned is not None
    assert free is not None
    assert (pinned.version, free.version) == ("1", "2")


async def newest_but(store: Store, name: str) -> None:
    taken = await take(store)
    assert [work.task_id for work in taken] == [name]
    await store.append(append(taken[0], 1, WORKING))


async def test_a_context_of_which_nothing_is_left_takes_the_version_of_the_day(stores: Stores) -> None:
    await ended(stores[0], "one", context_id="ctx")
    await newest(stores[0])
    await until_done(stores[1], NOW, NOW)
    await stores[0].accept(message("later", context_id="ctx", version="2"))
    later = await stores[0].load("later")
    assert later is not None
    assert later.version == "2"


async def test_much_goes_in_bounded_pieces(stores: Stores) -> None:
    for n in range(30):
        await ended(stores[0], f"t{n}")
    await newest(stores[0])
    pieces = 0
    while await stores[0].retain(NOW, NOW):
        pieces += 1
        assert pieces < 50
    assert (await stores[0].list_tasks(TaskFilter("o"))).total == 1
