"""What every store promises (see `parley_runtime.store`), on each backend."""

import asyncio
import time

import pytest
from a2a.types import a2a_pb2 as pb
from stores import COMPLETED, INPUT, WORKING, Database, append, message, stop_renewing, take

from parley_runtime.store import (
    ERROR,
    MOST_PUSH_CONFIGS,
    ContextMismatch,
    MessageIdReused,
    StepRecord,
    Store,
    TaskEnded,
    TaskFilter,
    TooManyConfigs,
    UnknownTask,
)


async def test_a_message_is_accepted_once(stores: tuple[Store, Store]) -> None:
    first = await stores[0].accept(message())
    again = await stores[1].accept(message(task="other", message_id="m-t1"))
    assert (first.duplicate, again.duplicate, again.task_id) == (False, True, "t1")
    assert len(await take(stores[0])) == 1


async def test_two_processes_accepting_one_message_at_once_make_one_task(stores: tuple[Store, Store]) -> None:
    made = await asyncio.gather(
        *(stores[n % 2].accept(message(task=f"t{n}", message_id="m")) for n in range(20))
    )
    assert len({a.task_id for a in made}) == 1
    assert sum(not a.duplicate for a in made) == 1
    assert len(await take(stores[0])) == 1


async def test_another_body_under_the_same_id_is_refused(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    with pytest.raises(MessageIdReused, match="use a new one"):
        await stores[1].accept(message(task="t2", message_id="m-t1", digest=b"other"))
    assert await stores[0].load("t2") is None


async def test_another_owner_may_use_the_same_message_id(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    assert not (await stores[0].accept(message(task="t2", message_id="m-t1", owner="p"))).duplicate


async def test_a_refused_message_does_not_touch_its_neighbours_in_the_batch(
    stores: tuple[Store, Store],
) -> None:
    results = await asyncio.gather(
        stores[0].accept(message("a")),
        stores[0].accept(message("nowhere", follow_up=True)),
        stores[0].accept(message("b")),
        return_exceptions=True,
    )
    assert isinstance(results[1], UnknownTask)
    assert {w.task_id for w in await take(stores[0])} == {"a", "b"}


async def test_follow_ups_belong_to_the_tasks_context_and_owner(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    with pytest.raises(ContextMismatch):
        await stores[1].accept(message(follow_up=True, message_id="m2", context_id="elsewhere"))
    with pytest.raises(UnknownTask):
        await stores[1].accept(message(follow_up=True, message_id="m2", owner="p"))
    assert (await stores[1].accept(message(follow_up=True, message_id="m2"))).context_id == "c"


async def test_a_context_keeps_the_version_it_was_born_with(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message("a", context_id="ctx", version="1"))
    await stores[0].accept(message("b", context_id="ctx", version="2"))
    assert (await stores[1].load("b")).version == "1"


async def test_work_goes_to_one_worker_and_messages_wait_their_turn(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    await stores[0].accept(message(follow_up=True, message_id="m2"))
    [work] = await take(stores[0], "w1")
    assert await take(stores[1], "w2") == []
    await stores[0].finish(work.task_id, work.epoch, work.number)
    [second] = await take(stores[1], "w2")
    assert (second.number, second.epoch) == (2, 2)


async def test_many_workers_taking_at_once_never_share_an_entry(stores: tuple[Store, Store]) -> None:
    for n in range(30):
        await stores[0].accept(message(f"t{n}"))
    for n in range(6):
        await stores[n % 2].register_worker(f"w{n}", "1", 30)
    taken = await asyncio.gather(*(stores[n % 2].take(f"w{n}", "1", 5) for n in range(6)))
    ids = [w.task_id for batch in taken for w in batch.work]
    assert len(ids) == len(set(ids)) == 30


async def test_accept_and_take_in_one_step_leases_to_the_acceptor(stores: tuple[Store, Store]) -> None:
    await stores[0].register_worker("w1", "1", 30)
    accepted = await stores[0].accept(message(), take_as="w1")
    assert accepted.work is not None
    assert await take(stores[1], "w2") == []


async def test_a_worker_that_lost_its_lease_cannot_write(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    [old] = await take(stores[0], "w1", lease=0.05)
    await stop_renewing(stores[0])
    await asyncio.sleep(0.1)
    assert await stores[1].sweep() == 1
    assert (await stores[0].append(append(old, 1, WORKING))).events == ()
    [new] = await take(stores[1], "w2")
    assert new.epoch > old.epoch
    assert new.attempt == 2
    assert (await stores[0].append(append(old, 1, WORKING))).events == ()
    assert not (await stores[0].finish(old.task_id, old.epoch, old.number)).done
    assert not await stores[0].record_step(old.task_id, old.epoch, 1, StepRecord("s", b"", 0, 0))
    assert len((await stores[1].append(append(new, 1, WORKING))).events) == 1
    assert [row[:2] for row in (await stores[1].trace("t1", "o")).takeovers] == [(1, "w1")]


async def test_a_lease_is_kept_while_its_loop_is_blocked(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    [work] = await take(stores[0], "w1", lease=0.9)
    time.sleep(1.5)  # noqa: ASYNC251 - what a synchronous executor does to its loop
    assert await stores[1].sweep() == 0
    assert len((await stores[0].append(append(work, 1, WORKING))).events) == 1


async def test_retiring_frees_work_at_once_without_counting_an_attempt(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    await take(stores[0], "w1")
    await stores[0].retire_worker("w1")
    [work] = await take(stores[1], "w2")
    assert (work.epoch, work.attempt) == (2, 1)


async def test_the_log_has_no_gaps_and_takes_nothing_after_the_end(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    [work] = await take(stores[0])
    assert (await stores[0].append(append(work, 2, WORKING))).events == ()
    futures = [
        stores[0].append(append(work, 1, WORKING, WORKING)),
        stores[0].append(append(work, 3, COMPLETED, ends=True)),
    ]
    logged = [e.generation for batch in await asyncio.gather(*futures) for e in batch.events]
    assert logged == [1, 2, 3]
    assert (await stores[0].append(append(work, 4, WORKING))).events == ()
    assert [e.generation for e in await stores[1].events("t1", 1)] == [2, 3]
    stored = await stores[1].load("t1")
    assert (stored.generation, stored.state, stored.busy) == (3, COMPLETED, False)


async def test_ending_a_task_drops_the_messages_behind_and_refuses_new_ones(
    stores: tuple[Store, Store],
) -> None:
    await stores[0].accept(message())
    await stores[0].accept(message(follow_up=True, message_id="m2"))
    [work] = await take(stores[0])
    await stores[0].append(append(work, 1, COMPLETED, ends=True))
    assert await take(stores[1], "w2") == []
    with pytest.raises(TaskEnded):
        await stores[1].accept(message(follow_up=True, message_id="m3"))


async def test_follow_ups_sent_at_once_are_run_in_the_order_sent_and_each_task_has_its_own(
    stores: tuple[Store, Store],
) -> None:
    tasks = ("a", "b", "c")
    for task in tasks:
        await stores[0].accept(message(task))
    sent = [(task, f"{task}-{n}") for n in range(5) for task in tasks]
    accepted = await asyncio.gather(
        *(stores[0].accept(message(t, follow_up=True, message_id=m, request=m.encode())) for t, m in sent)
    )
    assert [(a.task_id, a.number) for a in accepted] == [(t, n + 2) for n in range(5) for t in tasks]
    ran = []
    while found := await take(stores[1], "w1"):
        ran += [(work.task_id, work.request) for work in found]
        for work in found:
            await stores[1].finish(work.task_id, work.epoch, work.number)
    for task in tasks:
        expected = [b"r", *(f"{task}-{n}".encode() for n in range(5))]
        assert [request for t, request in ran if t == task] == expected


async def test_among_follow_ups_sent_at_once_each_has_its_own_answer(stores: tuple[Store, Store]) -> None:
    for task in ("a", "ended"):
        await stores[0].accept(message(task))
    for work in await take(stores[0]):
        if work.task_id == "ended":
            await stores[0].append(append(work, 1, COMPLETED, ends=True))
    first = await stores[0].accept(message("a", follow_up=True, message_id="known"))
    answers = await asyncio.gather(
        *(
            stores[0].accept(message(task, follow_up=True, **changes))
            for task, changes in (
                ("a", {"message_id": "new"}),
                ("ended", {"message_id": "late"}),
                ("nowhere", {"message_id": "lost"}),
                ("a", {"message_id": "known"}),
                ("a", {"message_id": "m-a", "digest": b"other"}),
                ("a", {"message_id": "astray", "context_id": "elsewhere"}),
                ("a", {"message_id": "last"}),
            )
        ),
        return_exceptions=True,
    )
    new, late, lost, known, reused, astray, last = answers
    assert (known.duplicate, known.number) == (True, first.number)  # type: ignore[union-attr]
    assert first.number < new.number < last.number  # type: ignore[union-attr]
    refusals = [type(answer) for answer in (late, lost, reused, astray)]
    assert refusals == [TaskEnded, UnknownTask, MessageIdReused, ContextMismatch]


async def test_a_message_sent_at_once_to_two_tasks_in_two_processes_is_one_message(
    stores: tuple[Store, Store],
) -> None:
    for task in ("a", "b"):
        await stores[0].accept(message(task))
    made = await asyncio.gather(
        *(
            stores[n % 2].accept(message("ab"[n % 2], follow_up=True, message_id=f"m{n // 2}"))
            for n in range(16)
        )
    )
    for n in range(0, 16, 2):
        assert made[n].task_id == made[n + 1].task_id
        assert sorted((made[n].duplicate, made[n + 1].duplicate)) == [False, True]


async def test_a_cancel_overtakes_messages_and_reaches_the_running_worker(
    stores: tuple[Store, Store],
) -> None:
    await stores[0].accept(message())
    [work] = await take(stores[0], "w1")
    await stores[0].append(append(work, 1, WORKING))
    await stores[0].accept(message(follow_up=True, message_id="m2"))
    assert await stores[1].request_cancel("t1", "o", b"x", "")
    assert not await stores[1].request_cancel("t1", "o", b"x", "")
    assert await take(stores[1], "w2") == []
    [cancel] = await stores[0].take_cancels("w1")
    assert (cancel.kind, cancel.epoch) == ("cancel", work.epoch)
    await stores[0].finish("t1", cancel.epoch, cancel.number, refusal="busy with it")
    assert (await stores[1].load("t1")).refusal == "busy with it"


async def test_a_cancel_of_a_parked_task_is_ordinary_work(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    [work] = await take(stores[0], "w1")
    await stores[0].append(append(work, 1, INPUT))
    await stores[0].finish("t1", work.epoch, 1)
    assert not (await stores[0].load("t1")).busy
    await stores[1].request_cancel("t1", "o", b"x", "")
    [cancel] = await take(stores[1], "w2")
    assert cancel.kind == "cancel"


async def test_work_of_a_version_that_nobody_hosts_is_taken_by_whoever_is_there(
    stores: tuple[Store, Store],
) -> None:
    await stores[0].accept(message(version="1"))
    await stores[0].register_worker("old", "1", 30)
    assert await take(stores[1], "new", version="2") == []
    await stores[0].retire_worker("old")
    assert len(await take(stores[1], "new", version="2")) == 1


async def test_steps_are_kept_by_work_entry(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    [work] = await take(stores[0])
    assert await stores[0].record_step("t1", work.epoch, 1, StepRecord("s", b"42", 1.0, 2.0))
    assert [s.result for s in await stores[1].steps("t1", 1)] == [b"42"]
    assert await stores[1].steps("t1", 2) == []


async def test_listing_pages_through_visible_tasks_newest_first(stores: tuple[Store, Store]) -> None:
    for n in range(5):
        await stores[0].accept(message(f"t{n}"))
    for work in await take(stores[0]):
        await stores[0].append(append(work, 1, WORKING))
    await stores[0].accept(message("hidden"))
    await stores[0].accept(message("foreign", owner="p"))
    seen, cursor = [], None
    while True:
        page = await stores[1].list_tasks(TaskFilter("o", cursor=cursor, size=2))
        assert page.total == 5
        seen += [t.task_id for t in page.tasks]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == [f"t{n}" for n in range(5)]
    assert seen == sorted(seen, reverse=True)


async def test_what_was_committed_is_there_after_reopening(
    stores: tuple[Store, Store], database: Database
) -> None:
    await stores[0].accept(message())
    third = await database.open()
    assert (await third.load("t1")).task_id == "t1"
    assert (await third.queue_state()).waiting == 1


async def test_a_protocol_error_is_logged_but_is_no_push(stores: tuple[Store, Store]) -> None:
    config = pb.TaskPushNotificationConfig(id="c", task_id="t1", url="https://example.org/")
    await stores[0].accept(message(push=config.SerializeToString()))
    [work] = await take(stores[0])
    assert not (await stores[0].append(append(work, 1, ERROR, ends=True))).pushes
    await stores[0].accept(message("t2", push=config.SerializeToString()))
    [work] = (await stores[0].take("w", "1", 5)).work
    assert (await stores[0].append(append(work, 1, COMPLETED, ends=True))).pushes


async def test_a_task_takes_a_bounded_number_of_push_configurations(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    for n in range(MOST_PUSH_CONFIGS):
        config = pb.TaskPushNotificationConfig(id=f"c{n}", task_id="t1", url="https://example.org/")
        await stores[0].accept(message(follow_up=True, message_id=f"f{n}", push=config.SerializeToString()))
    config.id = "one more"
    with pytest.raises(TooManyConfigs):
        await stores[0].accept(message(follow_up=True, message_id="last", push=config.SerializeToString()))


async def test_a_version_is_in_use_while_it_has_a_worker_or_work(stores: tuple[Store, Store]) -> None:
    await stores[0].accept(message())
    assert await stores[1].in_use("1")
    [work] = await take(stores[0])
    await stores[0].append(append(work, 1, COMPLETED, ends=True))
    assert await stores[1].in_use("1")
    await stores[0].retire_worker("w")
    assert not await stores[1].in_use("1")
