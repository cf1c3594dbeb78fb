"""What the registry says of an agent: the values that its service answers with and its client returns."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from a2a.types import AgentCard

from parley_core.cardsignature import Signature

Health = Literal["up", "down", "unknown"]
ChangeKind = Literal[
    "published",
    "latest",
    "up",
    "down",
    "deleted",
    "signature",
    "rollout",
    "prompt",
    "mcp",
    "reset",
    "start",
]

UNSIGNED = Signature("none")
PUBLIC = "public"
"""The namespace of agents for which none is told."""


class Agent(NamedTuple):
    """What identifies an agent in a registry: names are unique within their namespace."""

    namespace: str
    name: str


class Key(NamedTuple):
    """What identifies one version of an agent."""

    namespace: str
    name: str
    version: str

    @property
    def agent(self) -> Agent:
        return Agent(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of an agent's version: an id unique among its copies, and where it answers."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of an agent.

    `health` is "up" while an instance lives (or, for an external agent, its card could lately be fetched),
    "down" when the last one is gone, "unknown" when none was ever announced. `updated` is when card, latest
    or health last changed, in seconds since the epoch. `signature` is what the registry thinks of the card's
    signatures; `owner` whose the agent is, "" where nobody has to say who they are. `stale` says that the registry could
    not ask for too long whether this still holds: it serves what Nacos holds, and Nacos is away. `source` is where the card of
    an external agent is fetched from, else "".
    """

    namespace: str
    name: str
    version: str
    latest: bool
    health: Health
    instances: tuple[Instance, ...]
    external: bool
    card: AgentCard
    updated: float
    signature: Signature = UNSIGNED
    owner: str = ""
    stale: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that a search found, how well it fits (higher is better), and why, in words."""

    entry: Entry
    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search.

    `facets` counts, over all `total` matches, how many have each value: `facets["skill"]["run-tests"]`. Of
    each facet the most frequent values are given. `next` is the cursor of the page that follows, or "". `notes` say what is
    to be said about the answer: that it was searched by words alone, for the embeddings could not be had.
    """

    entries: tuple[Hit, ...]
    facets: dict[str, dict[str, int]]
    next: str
    total: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the catalogue; `seq` only grows and is what a watch resumes after.

    "reset" (without a name) says that changes were missed for good: read again what you keep a copy of.
    "start" (without a name) only tells where a stream begins; `RegistryClient.watch` keeps it to itself.
    """

    seq: int
    kind: ChangeKind
    namespace: str
    name: str
    version: str
