"""Store and outbox of one process on an address, for the tests here and for the processes they start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from parley_runtime.push.outbox import Outbox
from parley_runtime.push.postgres import PostgresOutbox
from parley_runtime.push.sqlite import SqlOutbox
from parley_runtime.store import Store
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres.listener import Listener, Notifier
from parley_runtime.stores.sqlite import SqliteStore


@dataclass(frozen=True)
class Opened:
    store: Store
    outbox: Outbox


@asynccontextmanager
async def opened_on(address: str) -> AsyncIterator[Opened]:
    """What one more process has of the store."""
    if address.startswith("sqlite"):
        file = SqliteStore(address)
        await file.open()
        yield Opened(file, SqlOutbox(file))
        await file.close()
        return
    store = PostgresStore(address, "pushing")
    listener, notifier = Listener(store.address), Notifier(store.address)
    outbox = PostgresOutbox(store, listener, notifier)
    for part in (store, listener, notifier, outbox):
        await part.open()
    yield Opened(store, outbox)
    for part in (outbox, notifier, listener, store):
        await part.close()
