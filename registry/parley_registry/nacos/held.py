"""Versions of agents as Nacos lists and holds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from parley_registry.nacos.card import HeldCard
from parley_registry.nacos.config import ConfigKey
from parley_registry.versions import becomes_latest, is_version


@dataclass(frozen=True, slots=True)
class AgentVersion:
    """A version as Nacos lists it, under the name it has there (`layout.nacos_version`). `updated` in seconds since the epoch."""

    called: str
    latest: bool
    updated: float


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version with its card. `native` is what Nacos told."""

    card: HeldCard
    latest: bool
    updated: float
    native: Mapping[str, Any]

    @property
    def version(self) -> str:
        """The version, as the card says it."""
        return self.card.checked.card.version


@dataclass(frozen=True, slots=True)
class Reading:
    """An agent as it was read from `began` (time.monotonic) on: its versions, in no particular order, and some of their
    cards by what the versions are called; None for one that has no card, or one that nobody can read.

    `sound` says that one is the latest for Nacos too. `md5s` are those of the configs that were read.
    """

    began: float
    listed: tuple[AgentVersion, ...]
    sound: bool
    cards: Mapping[str, HeldVersion | None]
    md5s: Mapping[ConfigKey, str]

    @property
    def held(self) -> list[HeldVersion]:
        """The versions whose cards were read."""
        return [one for one in self.cards.values() if one is not None]


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a card that was to be kept: whether its version is new, and the agent with this card as it was read then."""

    created: bool
    reading: Reading


def with_a_latest(listed: list[AgentVersion]) -> list[AgentVersion]:
    """Of an agent whose latest version another deleted, the highest counts as latest."""
    if not listed or any(one.latest for one in listed):
        return listed
    highest = ""
    for one in listed:
        version = one.called.replace("_", "+")
        if is_version(version) and (not highest or becomes_latest(version, [highest.replace("_", "+")])):
            highest = one.called
    latest = highest or max(listed, key=lambda one: one.updated).called
    return [AgentVersion(one.called, one.called == latest, one.updated) for one in listed]


def seconds_of(text: Any) -> float:
    """What Nacos writes as a time, in seconds since the epoch; 0 for anything else."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
