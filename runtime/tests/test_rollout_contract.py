"""Versions side by side on one store: who gets whose work, and that a context stays on the version it began on."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence

import pytest
from stores import COMPLETED, INPUT, WORKING, Database, append, message, take

from parley_registry.client import Rollout, RolloutVersion
from parley_runtime.store import Accepted, Limits, Store

Stores = tuple[Store, Store]
CURRENT = RolloutVersion("1", "Current", 95)
CANARY = RolloutVersion("2", "Ramping", 5)


def table(*versions: RolloutVersion) -> Rollout:
    return Rollout("public", "agent", versions)


async def test_the_table_is_kept_as_it_was_last_told(stores: Stores, database: Database) -> None:
    assert list(await stores[0].rollout()) == []
    await stores[0].set_rollout([CURRENT, CANARY])
    await stores[1].set_rollout([CANARY, CURRENT, RolloutVersion("0", "Drained")])
    third = await database.open()
    assert list(await third.rollout()) == [CANARY, CURRENT, RolloutVersion("0", "Drained")]
    await third.set_rollout([])
    assert list(await stores[0].rollout()) == []


@pytest.mark.parametrize("state", ["Ramping", "Draining", "Drained"])
async def test_work_of_a_version_in_the_table_waits_for_its_own_workers(stores: Stores, state: str) -> None:
    await stores[0].set_rollout([CURRENT, RolloutVersion("2", state)])  # type: ignore[arg-type]
    await stores[0].accept(message(version="2"))
    assert await take(stores[0], "w1", version="1") == []
    assert await stores[1].unhosted() == {"2": 1}
    [work] = await take(stores[1], "w2", version="2")
    assert work.version == "2"
    assert await stores[0].unhosted() == {}


async def test_work_of_the_current_version_waits_too_when_nobody_hosts_it(stores: Stores) -> None:
    await stores[0].set_rollout([CURRENT, CANARY])
    await stores[0].accept(message(version="1"))
    assert await take(stores[1], "w2", version="2") == []


async def test_what_is_left_of_a_version_that_left_the_table_is_the_current_versions(stores: Stores) -> None:
    await stores[0].set_rollout([CURRENT, CANARY])
    await stores[0].accept(message(version="0"))
    assert await take(stores[1], "w2", version="2") == []
    assert [work.task_id for work in await take(stores[0], "w1", version="1")] == ["t1"]


async def test_what_is_left_of_an_inactive_version_is_the_current_versions_too(stores: Stores) -> None:
    await stores[0].set_rollout([CURRENT, RolloutVersion("2", "Inactive")])
    await stores[0].accept(message(version="2"))
    assert [work.task_id for work in await take(stores[0], "w1", version="1")] == ["t1"]


async def test_what_is_open_of_a_version_is_moved_to_another_and_who_ran_it_may_not_go_on(
    stores: Stores,
) -> None:
    here, there = stores
    for name in ("runs", "asks", "ended", "waits"):
        await here.accept(message(name, context_id=f"c-{name}", version="2"))
        if name == "waits":
            continue
        [work] = await take(there, "w2", version="2")
        if name == "runs":
            lost = work
            assert (await there.append(append(work, 1, WORKING))).events
        else:
            state, ends = (INPUT, False) if name == "asks" else (COMPLETED, True)
            assert (await there.append(append(work, 1, state, ends=ends))).events
            if not ends:
                assert (await there.finish(work.task_id, work.epoch, work.number)).done
    await here.accept(message("other", context_id="c-other", version="1"))
    await here.set_rollout([CURRENT, RolloutVersion("2", "Inactive")])
    assert await here.move("2", "1") == 3
    assert await here.move("2", "1") == 0

    assert not (await there.append(append(lost, 2, WORKING))).events, "who ran it went on"
    assert await there.held("w2") == {}
    assert await take(there, "w2", version="2") == []
    mine = await take(here, "w1", version="1")
    assert {work.task_id for work in mine} == {"runs", "waits", "other"}
    assert [(work.version, work.attempt) for work in mine] == [("1", 1)] * 3
    assert (await here.append(append(next(w for w in mine if w.task_id == "runs"), 2, WORKING))).events

    for name in ("runs", "asks", "ended", "waits", "other"):
        began = await there.accept(message(f"{name}-2", context_id=f"c-{name}", version="2"))
        assert began.version == "1", name
    follow_up = message("asks", message_id="m-3", follow_up=True, context_id="c-asks", version="2")
    assert (await there.accept(follow_up)).version == "1"
    by_version = {one.version: one for one in await here.figures(60)}
    assert dict(by_version["2"].ended) == {"completed": 1}, "what it did stays its own"
    assert by_version["2"].open == 0
    assert (await here.queue_state()).waiting == 6


async def test_pins_of_contexts_that_were_moved_go_with_their_last_task(stores: Stores) -> None:
    await stores[0].accept(message(context_id="c", version="2"))
    await stores[0].move("2", "1")
    [work] = await take(stores[0], "w1", version="1")
    assert (await stores[0].append(append(work, 1, COMPLETED, ends=True))).events
    await stores[0].accept(message("newest", context_id="else", version="1"))
    [newest] = await take(stores[0], "w1", version="1")
    assert (await stores[0].append(append(newest, 1, WORKING))).events
    while await stores[0].retain(-1.0, -1.0):
        pass
    assert await stores[0].load("t1") is None
    assert (await stores[1].accept(message("t9", context_id="c", version="2"))).version == "2"


async def test_a_version_that_left_the_table_and_is_hosted_still_does_its_work_itself(
    stores: Stores,
) -> None:
    await stores[0].set_rollout([CURRENT])
    await stores[0].register_worker("w0", "0", 30)
    await stores[0].accept(message(version="0"))
    assert await take(stores[1], "w1", version="1") == []
    assert len(await take(stores[0], "w0", version="0")) == 1


async def test_two_fronts_that_race_on_one_new_context_agree(stores: Stores) -> None:
    both = await asyncio.gather(
        *(
            stores[n % 2].accept(message(f"{n}", context_id=f"c{n // 2}", version="12"[n % 2]))
            for n in range(200)
        )
    )
    for one, other in zip(both[::2], both[1::2], strict=True):
        assert one.version == other.version != ""


async def test_ten_thousand_contexts_are_split_by_the_weights_and_none_ever_changes(stores: Stores) -> None:
    weights = (5.0, 25.0, 60.0)
    born: dict[str, str] = {}

    async def say(contexts: Sequence[str], round_: int, known: Rollout) -> list[Accepted]:
        futures = [
            stores[n % 2].accept(message(f"{c}-{round_}", context_id=c, version=known.choose(c)), take_as="")
            for n, c in enumerate(contexts)
        ]
        return list(await asyncio.gather(*futures))

    await stores[0].set_limits(Limits(backlog=0))
    await stores[1].set_limits(Limits(backlog=0))
    for n, weight in enumerate(weights):
        known = table(RolloutVersion("1", "Current", 100 - weight), RolloutVersion("2", "Ramping", weight))
        contexts = (
            [f"context-{n}-{i}" for i in range(10_000)] if n == 0 else [f"{n}-{i}" for i in range(1000)]
        )
        accepted = await say(contexts, n, known)
        born |= {one.context_id: one.version for one in accepted}
        share = Counter(one.version for one in accepted)["2"]
        sigma = math.sqrt(len(contexts) * weight / 100 * (1 - weight / 100))
        assert abs(share - len(contexts) * weight / 100) <= 2 * sigma, (
            f"{share} of {len(contexts)} at {weight} %"
        )
        again = await say(list(born), n + 10, known)
        assert {one.context_id: one.version for one in again} == born
