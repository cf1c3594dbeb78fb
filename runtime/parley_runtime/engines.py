"""Which engines stand behind the ports, by their addresses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from parley_core.errors import ConfigurationError
from parley_runtime.bus import Bus
from parley_runtime.buses.postgres import PostgresBus
from parley_runtime.buses.rocketmq import RocketBus, StandIn
from parley_runtime.buses.sqlite import SqliteBus
from parley_runtime.push.outbox import Outbox
from parley_runtime.push.postgres import PostgresOutbox
from parley_runtime.push.sqlite import SqlOutbox
from parley_runtime.queue import Queue
from parley_runtime.queues.postgres import PostgresQueue
from parley_runtime.queues.rocketmq import RocketQueue
from parley_runtime.queues.sqlite import SqliteQueue
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.settings import HostSettings
from parley_runtime.store import Store
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres.listener import Listener, Notifier
from parley_runtime.stores.sqlite import SqliteStore


class Part(Protocol):
    """What is opened and closed with the engines that share it."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Engines:
    """What one agent's host runs on. Opened store first and closed last."""

    store: Store
    outbox: Outbox
    queue: Queue
    bus: Bus
    shared: Sequence[Part] = ()

    async def open(self) -> None:
        """Open all. Raises ConfigurationError when an address cannot be used."""
        parts: Sequence[Part] = (self.store, *self.shared, self.queue, self.bus)
        for part in parts:
            await part.open()

    async def close(self) -> None:
        """Finish what is pending and close all."""
        parts: Sequence[Part] = (self.bus, self.queue, *self.shared, self.store)
        for part in parts:
            await part.close()

    def status(self) -> dict[str, str]:
        """What is slower now than it should be, by engine; empty while all is well."""
        said = {"queue": self.queue.status(), "bus": self.bus.status()}
        return {name: reason for name, reason in said.items() if reason}


def engines_for(
    settings: HostSettings, agent: str, version: str, host: str, *, patience: float = 0.0
) -> Engines:
    """The engines that the settings name for the host `host` of an agent's version, which when they are opened wait
    `patience` seconds for a database that cannot be reached. Raises ConfigurationError for an address of no known kind."""
    base = _on_store(settings, agent, patience)
    queue, bus = base.queue, base.bus
    if settings.queue:
        queue = RocketQueue(RocketAddress.parse(settings.queue), base.queue, agent=agent, version=version)
    if settings.bus:
        reads = "front" in settings.role
        bus = RocketBus(RocketAddress.parse(settings.bus), base.stand_in, agent=agent, host=host, reads=reads)
    return Engines(base.store, base.outbox, queue, bus, base.shared)


@dataclass(frozen=True, slots=True)
class _OnStore:
    """What a store offers by itself; what stands in for a broker that is away."""

    store: Store
    outbox: Outbox
    queue: Queue
    stand_in: StandIn
    shared: Sequence[Part] = ()

    @property
    def bus(self) -> Bus:
        return self.stand_in


def _on_store(settings: HostSettings, agent: str, patience: float) -> _OnStore:
    scheme = settings.store.partition(":")[0]
    if scheme == "sqlite":
        store = SqliteStore(settings.store)
        return _OnStore(store, SqlOutbox(store), SqliteQueue(store), SqliteBus(store))
    if scheme in ("postgresql", "postgres"):
        return _postgres(settings, agent, patience)
    raise ConfigurationError(
        f"--store {settings.store.partition('@')[2] or settings.store!r} is of no kind that Parley knows; "
        "use sqlite:///path/to.db or postgresql://user:password@host/database"
    )


def _postgres(settings: HostSettings, agent: str, patience: float) -> _OnStore:
    store = PostgresStore(settings.store, agent, patience=patience)
    listener, notifier = Listener(store.address), Notifier(store.address)
    queue = PostgresQueue(listener, notifier, store.address.key)
    bus = PostgresBus(listener, notifier, store.address.key)
    outbox = PostgresOutbox(store, listener, notifier)
    return _OnStore(store, outbox, queue, bus, (outbox, notifier, listener))
