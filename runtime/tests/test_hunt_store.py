"""The store, the sweeper and the publisher when the machine does not play along."""

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from a2a.types import a2a_pb2 as pb

from parley_core.errors import ParleyError, Unavailable
from parley_registry.client import Instance
from parley_runtime.buses.sqlite import SqliteBus
from parley_runtime.publisher import Publisher
from parley_runtime.queues.sqlite import SqliteQueue
from parley_runtime.store import Append, NewEvent, NewMessage, Store
from parley_runtime.stores.sqlite import SqliteStore
from parley_runtime.sweeper import Sweeper


def message(task: str = "t1", **changes: object) -> NewMessage:
    values: dict[str, Any] = {
        "owner": "o", "message_id": f"m-{task}", "digest": b"d", "task_id": task, "follow_up": False,
        "context_id": "", "new_context_id": "c", "version": "1", "request": b"r", "traceparent": "",
    }  # fmt: skip
    return NewMessage(**{**values, **changes})


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    store = SqliteStore(f"sqlite:///{tmp_path}/s.db")
    await store.open()
    yield store
    await store.close()


async def test_a_front_of_another_version_does_not_take_what_belongs_to_a_pinned_context(
    store: Store,
) -> None:
    await store.register_worker("one", "1", 30)
    await store.accept(message("a", context_id="ctx", version="1"))
    accepted = await store.accept(message("b", context_id="ctx", version="2"), take_as="two")
    assert accepted.work is None
    again = await store.accept(
        message("a", message_id="next", follow_up=True, context_id="ctx", version="2"), take_as="two"
    )
    assert again.work is None
    assert [w.task_id for w in (await store.take("one", "1", 10)).work] == ["a", "b"]


async def test_a_file_that_another_holds_is_told_to_all_who_wait_together(
    store: SqliteStore, tmp_path: Path
) -> None:
    assert store._writer is not None
    store._writer._patient._connection.execute("PRAGMA busy_timeout=300")  # fault injection: less patience
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    told = await asyncio.gather(*(store.accept(message(f"t{n}")) for n in range(20)), return_exceptions=True)
    assert all(isinstance(t, Unavailable) for t in told)
    assert time.monotonic() - began < 2
    other.execute("COMMIT")
    other.close()
    assert (await store.accept(message("after"))).task_id == "after"


async def test_a_clock_that_jumps_takes_no_work_from_workers_that_live(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.register_worker("one", "1", 1.5)
    [work] = [(await store.accept(message(), take_as="one")).work]
    assert work is not None
    names = {"worker": "one", "agent": "a", "version": "1"}
    sweeper = Sweeper(
        store,
        SqliteBus(store),
        SqliteQueue(store),
        **names,
        interval=0.25,
        retain_events=3600.0,
        retain_tasks=3600.0,
    )
    sweeping = asyncio.create_task(sweeper.run())
    await asyncio.sleep(0.4)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    await asyncio.sleep(3)
    sweeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sweeping
    trace = await store.trace("t1", "o")
    assert trace is not None
    assert trace.takeovers == []


class FakeRegistry:
    """Stands in for a registry that forgets whoever withdraws (fault injection needs its calls in order)."""

    def __init__(self) -> None:
        self.there = False

    async def publish(self, card: pb.AgentCard, *, instance: Instance) -> pb.AgentCard:
        self.there = True
        return card

    async def heartbeat(self, name: str, version: str, instance: str) -> None:
        if not self.there:
            raise ParleyError("no such instance")

    async def withdraw(self, name: str, version: str, instance: str) -> None:
        self.there = False


async def test_a_host_that_withdrew_is_not_published_again_while_it_drains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parley_runtime.publisher._BEAT", 0.02)
    registry = FakeRegistry()
    publisher = Publisher(registry, pb.AgentCard(name="a", version="1"), Instance("i", "http://x"))  # type: ignore[arg-type]
    running = asyncio.create_task(publisher.run())
    async with asyncio.timeout(5):
        await publisher.published.wait()
    await publisher.withdraw()
    await asyncio.sleep(0.5)
    assert not registry.there
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_writer_waits_for_another_process_without_losing_order(
    store: SqliteStore, tmp_path: Path
) -> None:
    await store.register_worker("one", "1", 30)
    work = (await store.accept(message(), take_as="one")).work
    assert work is not None
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    appends = [Append("t1", work.epoch, 1, n, [NewEvent(b"{}", 2)]) for n in (1, 2, 3)]
    waiting = [store.append(one) for one in appends[:2]]
    await asyncio.sleep(0.2)
    waiting.append(store.append(appends[2]))
    assert not any(f.done() for f in waiting)
    other.execute("COMMIT")
    other.close()
    assert [e.generation for batch in await asyncio.gather(*waiting) for e in batch.events] == [1, 2, 3]


async def test_other_processes_hear_of_what_is_logged_after_all_that_was_logged_before_went(
    store: SqliteStore, tmp_path: Path
) -> None:
    """Sequence numbers of events must not begin again when the newest is removed."""
    other = SqliteStore(f"sqlite:///{tmp_path}/s.db")
    await other.open()
    heard: list[str] = []
    other.watch(lambda events: heard.extend(task for task, _ in events), lambda: True)
    await store.register_worker("one", "1", 30)
    for name in ("old", "new"):
        work = (await store.accept(message(name), take_as="one")).work
        assert work is not None
        await store.append(
            Append(name, work.epoch, 1, 1, [NewEvent(b"{}", 2), NewEvent(b"{}", 3)], ends=True)
        )
        for _ in range(3):
            await store.retain(-1.0, -1.0)
        async with asyncio.timeout(5):
            while name not in heard:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await other.close()
