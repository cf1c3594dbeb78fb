"""The stores that the contract tests run on, and how those tests speak to them.

A new backend is one more entry of BACKENDS, an address for it in conftest, and how to open it in Database.
"""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from parley_runtime.store import Append, Limits, NewEvent, NewMessage, Store, Work
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.sqlite import SqliteStore

BACKENDS = ("sqlite", "postgres")
WORKING, COMPLETED, INPUT = 2, 3, 6


@dataclass
class Database:
    """An empty database by its address; every store opened on it is as one of another process."""

    url: str
    _opened: list[Store] = field(default_factory=list)

    async def open(self) -> Store:
        """One more store on it, closed with it."""
        sqlite = self.url.startswith("sqlite:")
        store: Store = SqliteStore(self.url) if sqlite else PostgresStore(self.url, "agent")
        await store.open()
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


async def stop_renewing(store: Store) -> None:
    """Fault injection: the process of this store hangs, so nothing renews its worker's lease."""
    if isinstance(store, PostgresStore):
        assert store._renewer is not None
        await store._renewer.stop()
    else:
        store._lease = None  # type: ignore[attr-defined]


async def set_limits(stores: tuple[Store, Store], limits: Limits) -> None:
    """Change the limits from one process, and return when the other knows them too."""
    await stores[0].set_limits(limits)
    deadline = time.monotonic() + 1.5
    while await stores[1].limits() != limits:
        assert time.monotonic() < deadline, "the other process does not learn of the new limits"
        await asyncio.sleep(0.05)


def message(task: str = "t1", **changes: object) -> NewMessage:
    values: dict[str, object] = {
        "owner": "o", "message_id": f"m-{task}", "digest": b"d", "task_id": task, "follow_up": False,
        "context_id": "", "new_context_id": "c", "version": "1", "request": b"r", "traceparent": "",
    }  # fmt: skip
    return NewMessage(**{**values, **changes})  # type: ignore[arg-type]


def append(work: Work, first: int, *states: int, ends: bool = False, snapshot: bytes | None = None) -> Append:
    events = [NewEvent(b'{"n":%d}' % n, state, status_at=float(n)) for n, state in enumerate(states, first)]
    return Append(work.task_id, work.epoch, work.number, first, events, snapshot, ends=ends)


async def take(
    store: Store, worker: str = "w", *, limit: int = 10, lease: float = 30.0, version: str = "1"
) -> list[Work]:
    """What a worker gets that looks once."""
    await store.register_worker(worker, version, lease)
    return list((await store.take(worker, version, limit)).work)


async def drain(store: Store, worker: str = "w", *, limit: int = 10, count: int = 1_000_000) -> list[Work]:
    """Take up to `count` entries in the order in which they are handed out, and end each."""
    await store.register_worker(worker, "1", 30)
    done: list[Work] = []
    while len(done) < count:
        taken = (await store.take(worker, "1", min(limit, count - len(done)))).work
        if not taken:
            return done
        for work in taken:
            await store.append(append(work, 1, COMPLETED, ends=True))
        done += taken
    return done


async def fill(store: Store, name: str, count: int, first: int = 0, **changes: object) -> None:
    """Have `count` tasks wait, all of one tenant, numbered from `first`."""
    made = [store.accept(message(f"{name}{n}", tenant=name, **changes)) for n in range(first, first + count)]
    for accepting in made:
        await accepting


def share(done: list[Work]) -> Mapping[str, int]:
    """How many of these entries each tenant had (see `fill`)."""
    counts: dict[str, int] = {}
    for work in done:
        tenant = work.task_id.rstrip("0123456789")
        counts[tenant] = counts.get(tenant, 0) + 1
    return counts


def consume(database: Database, seconds: float) -> int:
    """In a process of its own: take whatever can be had for so long; how much it was."""

    async def work() -> int:
        store, taken, name = await database.open(), 0, f"w{os.getpid()}"
        await store.register_worker(name, "1", 30)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            taken += len((await store.take(name, "1", 10)).work)
            await asyncio.sleep(0.01)
        await database.close()
        return taken

    return asyncio.run(work())
