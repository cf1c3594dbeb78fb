"""What the store on SQLite promises of scheduling beyond the port."""

import asyncio
import sqlite3

import pytest
from stores import COMPLETED, Database, append, drain, fill, message, set_limits, share, stop_renewing, take

from parley_runtime.store import HIGHEST, NORMAL, Limits, Store, Work

Stores = tuple[Store, Store]
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def names(done: list[Work]) -> list[str]:
    return [work.task_id for work in done]


async def test_who_comes_while_others_wait_is_not_taken_as_it_is_accepted(stores: Stores) -> None:
    await stores[0].register_worker("w", "1", 30)
    assert (await stores[0].accept(message("a"), take_as="w")).work is not None
    await stores[1].accept(message("b"))
    assert (await stores[0].accept(message("c"), take_as="w")).work is None
    assert names(await take(stores[0])) == ["b", "c"]


async def test_each_priority_shares_on_its_own(stores: Stores) -> None:
    await fill(stores[0], "a", 10, priority=HIGHEST)
    await fill(stores[0], "b", 10, priority=NORMAL)
    await drain(stores[0], count=10)
    await fill(stores[0], "a", 10, first=10, priority=NORMAL)
    assert share(await drain(stores[0], count=10)) == {"a": 5, "b": 5}


async def test_nothing_waits_for_the_quota_when_nothing_waits_at_all(stores: Stores) -> None:
    await set_limits(stores, Limits(rate=0.01, burst=1))
    await fill(stores[0], "a", 1)
    assert len(await take(stores[0])) == 1
    assert (await stores[0].take("w", "1", 10)).wait == 0


async def test_what_is_counted_as_waiting_is_what_waits(stores: Stores, database: Database) -> None:
    """The count is kept beside the entries; it must follow whatever becomes of them."""
    store, file = stores[0], sqlite3.connect(database.url.removeprefix("sqlite:///"))

    async def right() -> None:
        counted = (await store.queue_state()).waiting
        assert counted == file.execute("SELECT count(*) FROM work WHERE state <= 0").fetchone()[0]

    await fill(store, "a", 8)
    await store.accept(message("late", expires_in=0.0))
    await right()
    one, two, three, four = (await take(store, limit=4))[:4]
    await store.accept(message(one.task_id, follow_up=True, message_id="f1"))
    await store.accept(message("b"), take_as="w")
    await right()
    await store.request_cancel(one.task_id, "o", b"x", "")
    await store.request_cancel("a7", "o", b"x", "")
    await right()
    for cancel in await store.take_cancels("w"):
        await store.finish(one.task_id, cancel.epoch, cancel.number, refusal="no")
    await store.finish(one.task_id, one.epoch, one.number)
    await store.release(two.task_id, two.epoch, two.number)
    await right()
    await store.accept(message(three.task_id, follow_up=True, message_id="f3"))
    await store.append(append(three, 1, COMPLETED, ends=True))
    await store.take_expired("w", 10)
    await right()
    await store.retire_worker("w")
    await right()
    assert four.task_id in names(await take(store, "lost", lease=0.05))
    await stop_renewing(store)
    await asyncio.sleep(0.1)
    assert await stores[1].sweep() > 0
    await right()
    file.close()
