"""Which engines stand behind the ports, by their addresses."""

from dataclasses import dataclass

from parley_core.errors import ConfigurationError
from parley_runtime.bus import Bus
from parley_runtime.buses.sqlite import SqliteBus
from parley_runtime.push.outbox import Outbox
from parley_runtime.push.sqlite import SqlOutbox
from parley_runtime.queue import Queue
from parley_runtime.queues.sqlite import SqliteQueue
from parley_runtime.settings import HostSettings
from parley_runtime.store import Store
from parley_runtime.stores.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class Engines:
    """What one agent's host runs on. Opened store first and closed last."""

    store: Store
    outbox: Outbox
    queue: Queue
    bus: Bus

    async def open(self) -> None:
        """Open all. Raises ConfigurationError when an address cannot be used."""
        await self.store.open()
        await self.queue.open()
        await self.bus.open()

    async def close(self) -> None:
        """Finish what is pending and close all."""
        await self.bus.close()
        await self.queue.close()
        await self.store.close()

    def status(self) -> dict[str, str]:
        """What is slower now than it should be, by engine; empty while all is well."""
        said = {"queue": self.queue.status(), "bus": self.bus.status()}
        return {name: reason for name, reason in said.items() if reason}


def engines_for(settings: HostSettings, agent: str) -> Engines:
    """The engines that the settings name for an agent. Raises ConfigurationError for an address of no known kind."""
    scheme = settings.store.partition(":")[0]
    if scheme == "sqlite":
        store = SqliteStore(settings.store)
        return Engines(store, SqlOutbox(store), SqliteQueue(store), SqliteBus(store))
    raise ConfigurationError(
        f"--store {settings.store.partition('@')[2] or settings.store!r} is of no kind that Parley knows; "
        "use sqlite:///path/to.db"
    )
