"""The record port: what the registry keeps, and what every backend of it promises.

- *One truth, several services*: any number of service processes may use one record at once; each call is
  atomic, and a call that returned survives the death of any process.
- *Every change is logged*: whatever changes a card, latest, health or a rollout table also appends to the change log in
  the same transaction. `seq` only grows, and changes are seen in its order: who read up to one never misses a smaller
  one. The oldest changes are dropped once there are more than the backend keeps.
- *An agent belongs to who published it first*: to the first actor with a name that publishes or changes it. Another one
  with a name is refused (NotOwner), unless it is an admin; so is a name that can be taken for one of another owner (see
  `names`). Who changed what is kept in the audit trail, in the same transaction.
- *A published version does not change*: its digest (see `card.CheckedCard`) is fixed by the first publish.
- A backend that cannot search is fine: search runs on an index built from here (see `index`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from parley_core.cardsignature import Signature
from parley_registry.audit import NOBODY, Actor, Audited
from parley_registry.card import CheckedCard
from parley_registry.entry import UNSIGNED, Agent, Change, Health, Instance, Key
from parley_registry.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as kept: `card` is canonical ProtoJSON; `source` the card's URL if the agent is external, else "";
    `owner` whose the agent is, or "".

    `interfaces` are what `CheckedCard.interfaces` was of the card that each live instance announced, in the order of
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
    owner: str
    card: bytes
    digest: str
    updated: float
    signature: Signature = UNSIGNED
    """What the card's signatures are worth: not kept, but judged by `trust.Trust` when the entry is shown."""

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


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far what is served lags behind what is true elsewhere: `age` in seconds since the two were last known to be the
    same (infinite: never), whether that is too long, and why, in words ("" while all is well)."""

    age: float
    stale: bool
    why: str


class Record(Protocol):
    """See the module's text for the guarantees. All methods may raise parley_core's Unavailable."""

    async def open(self) -> None:
        """Bring the schema forward and start. Raises ConfigurationError when the address cannot be used."""

    async def close(self) -> None:
        """Finish what is pending and let go of the database."""

    async def ping(self) -> None:
        """Return when the record answers a read."""

    def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` when another process may have made a change. Only a hint, which some backends cannot give at all."""

    async def freshness(self) -> Freshness:
        """How fresh this record is; one that is itself the truth is always."""

    # -- the catalogue
    async def publish(
        self,
        checked: CheckedCard,
        *,
        namespace: str,
        instance: Instance | None,
        source: str,
        actor: Actor = NOBODY,
    ) -> Published:
        """Keep a card as its version in a namespace, make it latest if `versions.becomes_latest`, and note an instance as seen now.

        With a `source`, the entry is up and the agent's other versions from there are down.

        Raises VersionConflict when the version is kept with another digest (a source may change its own), or
        the agent belongs to another source; NotOwner.
        """

    async def load(self, keys: Sequence[Key]) -> Sequence[Stored]:
        """The entries that exist among `keys`, in no particular order."""

    async def latest(self, agent: Agent) -> Stored | None:
        """The latest version of an agent, or None when there is no such agent."""

    async def versions(self, agent: Agent) -> Sequence[Stored]:
        """All versions of an agent, in no particular order; none when there is no such agent."""

    async def set_latest(self, key: Key, *, actor: Actor = NOBODY) -> Stored | None:
        """Make a version the latest; None when it does not exist. Raises NotOwner."""

    async def delete(self, agent: Agent, version: str | None, *, actor: Actor = NOBODY) -> bool:
        """Delete a version, or an agent with all that belongs to it, its owner too; False when there is nothing to delete.

        A single version is guarded. Raises LatestInUse for the latest while there are others, VersionInUse while
        instances of it live or it has a weight in the rollout table; NotOwner.
        """

    async def page(self, after: Key | None, limit: int) -> Sequence[Stored]:
        """Up to `limit` entries in an order of the backend's own, following that of `after`; to read everything."""

    async def retell(self, keys: Sequence[Key]) -> None:
        """Log that what is shown of these entries changed by something that is not kept here: by the keys that are
        trusted."""

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

    # -- rollouts
    async def rollout(self, agent: Agent) -> Rollout:
        """The rollout table of an agent; an empty one of revision 0 when none was set."""

    async def set_rollout(
        self, rollout: Rollout, expected_revision: int, *, actor: Actor = NOBODY
    ) -> Rollout:
        """Set the rollout table of an agent; what is kept then, with its new revision.

        Raises RolloutConflict when the table has another revision than expected, RolloutRejected with every fault of
        it (see `rollout.check_rollout`), NotOwner.
        """

    # -- owners and the audit trail
    async def owner(self, agent: Agent) -> str | None:
        """Whose a name is, "" for nobody's agent; None when it is free. What others delete from a record that is not kept
        here leaves its name to its owner."""

    async def set_owner(self, agent: Agent, owner: str, *, actor: Actor = NOBODY) -> bool:
        """Hand an agent over, "" to nobody; False when there is no such agent. Raises NotOwner."""

    async def note(
        self,
        actor: Actor,
        action: str,
        agent: Agent,
        version: str = "",
        *,
        before: str = "",
        after: str = "",
        detail: str = "",
    ) -> None:
        """Append to the audit trail what was done, or refused, elsewhere. (What this record changes is there by itself.)"""

    async def audit(
        self,
        *,
        agent: Agent | None = None,
        namespace: str = "",
        by: str = "",
        action: str = "",
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[Audited]:
        """The audit trail, newest first, beginning with what came before number `before`: of one agent, of one
        namespace, `by` one actor, of one kind of `action`, or of all."""

    async def forget_audited(self, seconds: float) -> int:
        """Drop what is older than so long; how many lines that were."""

    # -- the log
    async def changes(self, after: int, limit: int) -> Changes:
        """The changes after `after`, oldest first."""

    async def last_change(self) -> int:
        """The newest seq, 0 when nothing ever changed. Cheap enough to be asked often."""
