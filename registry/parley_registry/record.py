"""The record port: what the registry keeps, and what every backend of it promises.

- *One truth, several services*: any number of service processes may use one record at once; each call is
  atomic, and a call that returned survives the death of any process.
- *Every change is logged*: whatever changes a card, latest or health also appends to the change log in the
  same transaction. `seq` only grows; the oldest changes are dropped once there are more than the backend keeps.
- *A published version does not change*: its digest (see `card.CheckedCard`) is fixed by the first publish.
- A backend that cannot search is fine: search runs on an index built from here (see `index`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from parley_registry.card import CheckedCard
from parley_registry.entry import Agent, Change, Health, Instance, Key


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as kept: `card` is canonical ProtoJSON; `source` the card's URL if the agent is external, else "".

    `interfaces` are the `supportedInterfaces` (canonical JSON) that each live instance announced, in the order of
    their first announcement.
    """

    namespace: str
    name: str
    version: str
    latest: bool
    health: Health
    instances: tuple[Instance, ...]
    interfaces: tuple[bytes, ...]
    source: str
    card: bytes
    digest: str
    updated: float

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name, self.version)


class Source(NamedTuple):
    """Where the card of an external agent is fetched from, and the namespace that it was registered in."""

    namespace: str
    url: str


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publish: the entry, and whether this version is new."""

    entry: Stored
    created: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """A piece of the change log in order. `last` is the newest seq there is; `missed` says that changes after the
    point asked for have been dropped already."""

    changes: tuple[Change, ...]
    last: int
    missed: bool


class Record(Protocol):
    """See the module's text for the guarantees. All methods may raise parley_core's Unavailable."""

    async def open(self) -> None:
        """Bring the schema forward and start. Raises ConfigurationError when the address cannot be used."""

    async def close(self) -> None:
        """Finish what is pending and let go of the database."""

    async def ping(self) -> None:
        """Return when the record answers a read."""

    # -- the catalogue
    async def publish(
        self, checked: CheckedCard, *, namespace: str, instance: Instance | None, source: str
    ) -> Published:
        """Keep a card as its version in a namespace, make it latest if `versions.becomes_latest`, and note an instance as seen now.

        With a `source`, the entry is up and the agent's other versions from there are down.

        Raises VersionConflict when the version is kept with another digest (a source may change its own), or
        the agent belongs to another source.
        """

    async def load(self, keys: Sequence[Key]) -> Sequence[Stored]:
        """The entries that exist among `keys`, in no particular order."""

    async def latest(self, agent: Agent) -> Stored | None:
        """The latest version of an agent, or None when there is no such agent."""

    async def versions(self, agent: Agent) -> Sequence[Stored]:
        """All versions of an agent, in no particular order; none when there is no such agent."""

    async def set_latest(self, key: Key) -> Stored | None:
        """Make a version the latest; None when it does not exist."""

    async def delete(self, agent: Agent, version: str | None) -> bool:
        """Delete a version, or all of an agent; False when there is nothing to delete.

        Raises LatestInUse.
        """

    async def page(self, after: Key | None, limit: int) -> Sequence[Stored]:
        """Up to `limit` entries in an order of the backend's own, following that of `after`; to read everything."""

    # -- health
    async def heartbeat(self, key: Key, instance_id: str) -> bool:
        """Note that an instance was seen now; False when it is not known."""

    async def withdraw(self, key: Key, instance_id: str) -> None:
        """Forget an instance; its entry is down if that was the last."""

    async def expire(self, seconds: float) -> int:
        """Forget the instances not seen for so long, and mark down what has none left; how many entries that were."""

    async def claim_sources(self, every: float, limit: int) -> Sequence[Source]:
        """External sources due for a look, each given to one caller per `every` seconds."""

    async def mark_source(self, source: Source, health: Health) -> None:
        """Set the health of an external agent's versions after a look at its source (up concerns the latest alone)."""

    # -- the log
    async def changes(self, after: int, limit: int) -> Changes:
        """The changes after `after`, oldest first."""

    async def last_change(self) -> int:
        """The newest seq, 0 when nothing ever changed. Cheap enough to be asked often."""
