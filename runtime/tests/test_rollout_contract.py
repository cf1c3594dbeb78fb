"""Versions side by side on one store: who gets whose work, and that a context stays on the version it began on."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence

import pytest
from stores import Database, message, take

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


@pytest.mark.parametrize("state", ["Inactive", "Ramping", "Draining", "Drained"])
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
