"""Who goes next: what every store promises of priorities, shares, quotas, deadlines and backlogs."""

import asyncio
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
from stores import Database, append, consume, drain, fill, message, set_limits, share, stop_renewing, take

from parley_runtime.store import HIGHEST, LOWEST, NORMAL, Accepted, Limits, Overloaded, Store, Work

Stores = tuple[Store, Store]


def names(done: list[Work]) -> list[str]:
    return [work.task_id for work in done]


# -- priorities


async def test_a_higher_priority_always_goes_first(stores: Stores) -> None:
    for n, priority in enumerate([LOWEST, NORMAL, HIGHEST, NORMAL, LOWEST, HIGHEST]):
        await stores[0].accept(message(f"t{n}", priority=priority))
    done = await drain(stores[1], limit=2)
    assert [work.priority for work in done] == [HIGHEST] * 2 + [NORMAL] * 2 + [LOWEST] * 2
    assert names(done) == ["t2", "t5", "t1", "t3", "t0", "t4"]


async def test_a_cancel_goes_before_every_message_and_needs_no_quota(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=0.001, burst=1))
    await stores[0].accept(message("running", priority=HIGHEST))
    await stores[0].accept(message("t1"))
    [first] = await take(stores[0])
    await stores[0].request_cancel("t1", "o", b"x", "")
    [cancel] = await take(stores[1], "other")
    assert (first.task_id, cancel.task_id, cancel.kind) == ("running", "t1", "cancel")


async def test_work_that_is_given_back_goes_first_again(stores: Stores) -> None:
    await fill(stores[0], "a", 5)
    await fill(stores[0], "b", 5)
    first, second = await take(stores[0], limit=2)
    await fill(stores[0], "c", 2)
    await stores[0].release(second.task_id, second.epoch, second.number)
    await stores[0].release(first.task_id, first.epoch, first.number, counts=False)
    again = await take(stores[1], "other", limit=2)
    assert names(again) == names([first, second])
    assert [work.attempt for work in again] == [1, 2]


async def test_work_of_a_lost_worker_goes_first_again(stores: Stores) -> None:
    await fill(stores[0], "a", 5)
    [lost] = await take(stores[0], limit=1, lease=0.05)
    await stop_renewing(stores[0])
    await fill(stores[1], "b", 5)
    await asyncio.sleep(0.1)
    assert await stores[1].sweep() == 1
    [again] = await take(stores[1], "other", limit=1)
    assert again.task_id == lost.task_id


# -- shares


async def test_ten_thousand_tasks_of_one_tenant_do_not_delay_anothers_first(stores: Stores) -> None:
    await fill(stores[0], "heavy", 10_000)
    await drain(stores[0], count=20)
    await fill(stores[1], "light", 1)
    assert "light0" in names(await drain(stores[0], count=2))


async def test_tenants_of_equal_weight_share_equally_under_backlog(stores: Stores) -> None:
    await fill(stores[0], "a", 300)
    await fill(stores[0], "b", 30)
    await fill(stores[0], "c", 30)
    assert share(await drain(stores[1], count=90)) == {"a": 30, "b": 30, "c": 30}


async def test_weights_of_three_to_one_give_three_to_one(stores: Stores) -> None:
    await set_limits(stores, Limits(weights={"a": 3.0}))
    await fill(stores[0], "b", 100)
    await fill(stores[0], "a", 100)
    counts = share(await drain(stores[0], count=80))
    assert abs(counts["a"] - 60) <= 2


async def test_what_a_weight_leaves_unused_others_have(stores: Stores) -> None:
    await set_limits(stores, Limits(weights={"a": 10.0}))
    await fill(stores[0], "a", 5)
    await fill(stores[0], "b", 20)
    assert share(await drain(stores[0], count=20)) == {"a": 5, "b": 15}


async def test_who_comes_back_has_saved_nothing_up(stores: Stores) -> None:
    await fill(stores[0], "away", 5)
    await fill(stores[0], "here", 200)
    await drain(stores[0], count=110)
    await fill(stores[0], "away", 50, first=5)
    counts = share(await drain(stores[0], count=40))
    assert abs(counts["away"] - 20) <= 1


async def test_a_heavy_tenant_that_comes_back_gets_no_fresh_credit(stores: Stores) -> None:
    await fill(stores[0], "heavy", 60)
    await fill(stores[0], "light", 60)
    await drain(stores[0], count=50)
    await fill(stores[0], "new", 20)
    await fill(stores[0], "heavy", 20, first=60)  # it keeps adding, and still has its share
    counts = share(await drain(stores[0], count=30))
    assert max(counts.values()) - min(counts.values()) <= 2


# -- the quota


async def test_the_quota_lets_a_burst_through_and_then_says_how_long_to_wait(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=0.5, burst=3))
    await fill(stores[0], "a", 10)
    await stores[0].register_worker("w", "1", 30)
    taken = await stores[0].take("w", "1", 10)
    assert len(taken.work) == 3
    assert 1.0 < taken.wait <= 2.0
    again = await stores[1].take("w", "1", 10)
    assert not again.work
    assert 1.0 < again.wait <= 2.0


async def test_whoever_waited_as_long_as_it_was_told_finds_some(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=20, burst=1))
    await fill(stores[0], "a", 10)
    await stores[0].register_worker("w", "1", 30)
    await stores[0].take("w", "1", 10)
    for _ in range(4):
        wait = (await stores[0].take("w", "1", 10)).wait
        await asyncio.sleep(wait)
        assert (await stores[0].take("w", "1", 10)).work


async def test_what_is_taken_as_it_is_accepted_counts_to_the_quota(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=0.01, burst=2))
    await stores[0].register_worker("w", "1", 30)
    accepted = [await stores[n % 2].accept(message(f"t{n}"), take_as="w") for n in range(5)]
    taken = len(await take(stores[0]))
    assert sum(one.work is not None for one in accepted) + taken == 2


async def test_the_quota_holds_over_processes(stores: Stores, database: Database) -> None:
    await fill(stores[0], "a", 500)
    await set_limits(stores, Limits(rate=20, burst=10))
    elsewhere = Database(database.url)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        began = time.monotonic()
        both = [loop.run_in_executor(processes, consume, elsewhere, 2.0) for _ in range(2)]
        taken = sum(await asyncio.gather(*both))
        passed = time.monotonic() - began
    assert taken <= 10 + 20 * passed
    assert taken >= 10 + 20 * 1.5


# -- limits


async def test_limits_are_seen_by_other_processes_within_a_second_or_so(
    stores: Stores, database: Database
) -> None:
    new = Limits(concurrency=3, rate=1.5, burst=7, backlog=11, weights={"a": 2.0})
    await set_limits(stores, new)
    third = await database.open()
    assert await third.limits() == new


async def test_a_quota_can_be_changed_and_taken_away_while_work_waits(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=0.01, burst=1))
    await fill(stores[0], "a", 20)
    assert len(await take(stores[0], limit=20)) == 1
    await set_limits(stores, Limits(rate=100, burst=5))
    await asyncio.sleep(0.1)
    assert 1 <= len(await take(stores[0], limit=20)) <= 5
    await set_limits(stores, Limits())
    assert len(await take(stores[0], limit=20)) >= 20 - 1 - 5


async def test_a_smaller_burst_holds_at_once(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=0.01, burst=10))
    await set_limits(stores, Limits(rate=0.01, burst=2))
    await fill(stores[0], "a", 20)
    assert len(await take(stores[0], limit=20)) == 2


async def test_new_weights_count_for_what_is_accepted_from_then_on(stores: Stores) -> None:
    await set_limits(stores, Limits(weights={"a": 3.0}))
    await set_limits(stores, Limits(weights={"b": 3.0}))
    await fill(stores[0], "a", 100)
    await fill(stores[0], "b", 100)
    counts = share(await drain(stores[0], count=80))
    assert abs(counts["b"] - 60) <= 2


@pytest.mark.parametrize("wrong", [{"rate": -1}, {"burst": 0}, {"weights": {"a": 0}}])
def test_limits_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="more"):
        Limits(**wrong)  # type: ignore[arg-type]


# -- the backlog


async def test_a_full_backlog_refuses_clearly_and_loses_nothing(stores: Stores) -> None:
    await set_limits(stores, Limits(backlog=10))
    for n in range(10):
        await stores[0].accept(message(f"t{n}"))
    with pytest.raises(Overloaded, match="messages wait") as refused:
        await stores[0].accept(message("late"))
    assert refused.value.retry_after >= 1
    assert await stores[1].load("late") is None
    assert len(await drain(stores[0])) == 10
    assert not (await stores[1].accept(message("late"))).duplicate
    assert names(await drain(stores[0])) == ["late"]


async def test_a_repeat_is_answered_although_the_backlog_is_full(stores: Stores) -> None:
    await set_limits(stores, Limits(backlog=1))
    await stores[0].accept(message("a"))
    with pytest.raises(Overloaded):
        await stores[0].accept(message("b"))
    assert (await stores[1].accept(message("again", message_id="m-a"))).task_id == "a"


async def test_a_cancel_is_never_refused_for_the_backlog(stores: Stores) -> None:
    await set_limits(stores, Limits(backlog=1))
    await stores[0].accept(message("a"))
    assert await stores[0].request_cancel("a", "o", b"x", "")
    [cancel] = await take(stores[0])
    assert cancel.kind == "cancel"


async def test_a_follow_up_counts_to_the_backlog_too(stores: Stores) -> None:
    await set_limits(stores, Limits(backlog=1))
    await stores[0].accept(message("a"))
    with pytest.raises(Overloaded):
        await stores[0].accept(message("a", follow_up=True, message_id="next"))


async def test_a_backlog_opens_when_tasks_end_without_being_taken(stores: Stores) -> None:
    await set_limits(stores, Limits(backlog=2))
    await stores[0].accept(message("a"))
    [work] = await take(stores[0])
    for n in range(2):
        await stores[0].accept(message("a", follow_up=True, message_id=f"f{n}"))
    await stores[0].append(append(work, 1, 3, ends=True))
    await stores[0].accept(message("b"))
    assert (await stores[0].queue_state()).waiting == 1


async def test_messages_refused_together_with_others_lose_nothing(stores: Stores) -> None:
    await set_limits(stores, Limits(backlog=5))
    made = [
        one
        for _ in range(4)  # a batch that came in together may overshoot
        for one in await asyncio.gather(
            *(stores[0].accept(message(f"t{n}")) for n in range(20)), return_exceptions=True
        )
    ]
    accepted = [one.task_id for one in made if isinstance(one, Accepted) and not one.duplicate]
    assert sum(isinstance(one, Overloaded) for one in made) + len(accepted) <= 80
    assert sorted(names(await drain(stores[1]))) == sorted(accepted)


# -- deadlines


async def test_what_expired_is_handed_out_as_such_and_uses_no_quota(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=0.01, burst=1))
    await stores[0].accept(message("late", expires_in=0.05))
    await stores[0].accept(message("good", expires_in=60))
    await asyncio.sleep(0.1)
    taken = [*await take(stores[0]), *await take(stores[0])]
    assert {work.task_id: work.expired for work in taken} == {"late": True, "good": False}


async def test_what_expired_is_found_without_a_free_place_or_quota(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=0.001, burst=1))
    await stores[0].accept(message("first"))
    await take(stores[0])
    await stores[0].accept(message("a", expires_in=0.05))
    await stores[0].accept(message("b", expires_in=60))
    await stores[0].accept(message("c"))
    assert list(await stores[1].take_expired("w", 10)) == []
    await asyncio.sleep(0.1)
    [expired] = await stores[1].take_expired("w", 10)
    assert (expired.task_id, expired.expired) == ("a", True)
    assert (await stores[1].append(append(expired, 1, 4, ends=True))).events
    assert list(await stores[1].take_expired("w", 10)) == []


async def test_a_deadline_is_met_by_beginning_in_time(stores: Stores) -> None:
    await stores[0].accept(message("a", expires_in=0.2))
    [work] = await take(stores[0])
    await asyncio.sleep(0.3)
    await stores[0].release(work.task_id, work.epoch, work.number)
    assert list(await stores[0].take_expired("w", 10)) == []
    [again] = await take(stores[0])
    assert not again.expired


async def test_what_has_expired_already_is_not_taken_as_it_is_accepted(stores: Stores) -> None:
    await stores[0].register_worker("w", "1", 30)
    assert (await stores[0].accept(message("a", expires_in=0.0), take_as="w")).work is None
    assert [work.expired for work in await take(stores[0])] == [True]


# -- what is told


async def test_the_state_of_the_queue_is_told(stores: Stores) -> None:
    await fill(stores[0], "b", 4)
    await take(stores[0], limit=1)
    state = await stores[1].queue_state()
    assert (state.waiting, state.running) == (3, 1)
    assert state.oldest >= 0


async def test_the_state_of_the_queue_is_told_by_priority(stores: Stores) -> None:
    await stores[0].accept(message("a", priority=HIGHEST))
    await fill(stores[0], "b", 3)
    await take(stores[0], limit=1)
    state = await stores[1].queue_state()
    assert (state.waiting, state.running) == (3, 1)
    assert state.oldest >= 0
    assert dict(state.by_priority) == {NORMAL: 3}
    assert state.quota is None
    await set_limits(stores, Limits(rate=0.001, burst=4))
    quota = (await stores[1].queue_state()).quota
    assert quota is not None
    assert 3.9 <= quota <= 4.1
