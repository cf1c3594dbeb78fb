"""Versions of agents as Nacos lists and holds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from parley_registry.nacos.card import HeldCard
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
