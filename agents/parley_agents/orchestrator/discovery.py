"""Who can do it: agents by skill, from the registry, best first."""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from a2a.types import a2a_pb2 as pb

from parley_agents.orchestrator.circuit import Circuits
from parley_agents.orchestrator.errors import NoAgent
from parley_core.errors import Unavailable
from parley_registry.client import Entry, Page

log = logging.getLogger(__name__)

_AGAIN = 0.5
"""Seconds between looks into the registry while nobody with the skill is up."""
_HEALTH = {"up": 0, "unknown": 1, "down": 2}
_CIRCUIT = {"closed": 0, "half-open": 1, "open": 2}


class Registry(Protocol):
    """What is needed of parley_registry.client.RegistryClient."""

    async def search(self, *, skill: str = "", limit: int = 20) -> Page: ...


@dataclass(frozen=True, slots=True)
class Agent:
    """An instance of an agent's version, with a card whose interfaces lead to that instance."""

    name: str
    version: str
    url: str
    """Where the first interface is: what its circuit is kept under."""
    health: str
    latest: bool
    score: float
    external: bool
    """Whether somebody registered it by its URL; else it published itself."""
    card: pb.AgentCard


def instances(entry: Entry, score: float) -> list[Agent]:
    """The places where a registered version answers.

    One for each running instance, with the card's first interface led there, when the card's own address is
    that of one of them; else the card's address, behind which somebody else spreads the calls.
    """
    urls = [interface.url for interface in entry.card.supported_interfaces[:1]]
    places = [one.url for one in entry.instances if one.url]
    if urls and urls[0] in places:
        urls += sorted(set(places) - set(urls))
    return [_at(entry, score, url) for url in urls or [""]]


def _at(entry: Entry, score: float, url: str) -> Agent:
    card = pb.AgentCard()
    card.CopyFrom(entry.card)
    if card.supported_interfaces and card.supported_interfaces[0].url != url:
        del card.supported_interfaces[1:]  # these lead to another instance
        card.supported_interfaces[0].url = url
    return Agent(entry.name, entry.version, url, entry.health, entry.latest, score, entry.external, card)


def ranked(agents: Sequence[Agent], circuits: Circuits, tried: Collection[str] = ()) -> list[Agent]:
    """Agents in the order to ask them: those not tried yet for this piece of work first, then by circuit,
    health, being the latest version, and how well the registry says they fit. `tried` are URLs, once for
    each try."""
    attempts = list(tried)
    return sorted(
        agents,
        key=lambda agent: (
            attempts.count(agent.url),
            _CIRCUIT[circuits.state(agent.url)],
            _HEALTH.get(agent.health, 2),
            not agent.latest,
            -agent.score,
            agent.name,
            agent.url,
        ),
    )


class Directory:
    """Searches the registry, and remembers what it said last for when it does not answer."""

    def __init__(self, registry: Registry, circuits: Circuits, *, patience: float = 10.0) -> None:
        """`patience`: seconds to wait for an agent to come up when none with the skill is."""
        self._registry = registry
        self._patience = patience
        self._last: dict[str, list[Agent]] = {}
        self.circuits = circuits

    async def find(self, skill: str, *, tried: Collection[str] = (), barred: Collection[str] = ()) -> Agent:
        """The agent to ask next for `skill`: see `ranked`; never one of the URLs in `barred`.

        Waits a while for one that is up and not left alone after failures. Raises NoAgent.
        """
        ends = time.monotonic() + self._patience
        while True:
            agents = [one for one in await self._search(skill) if one.url not in barred]
            best = ranked(agents, self.circuits, tried)
            usable = [one for one in best if one.health != "down" and self.circuits.state(one.url) != "open"]
            if usable:
                return usable[0]
            if not best and barred:
                raise self._nobody(skill, barred)
            if time.monotonic() >= ends:
                if best:
                    return best[0]
                raise self._nobody(skill, barred)
            await asyncio.sleep(_AGAIN)

    async def _search(self, skill: str) -> list[Agent]:
        try:
            page = await self._registry.search(skill=skill, limit=50)
        except Unavailable as error:
            if skill not in self._last:
                log.warning("cannot look for an agent with the skill %s: %s", skill, error)
            return self._last.get(skill, [])
        self._last[skill] = [agent for hit in page.entries for agent in instances(hit.entry, hit.score)]
        return self._last[skill]

    def _nobody(self, skill: str, barred: Collection[str]) -> NoAgent:
        if skill not in self._last:
            return NoAgent(
                f"the registry does not answer, so no agent with the skill {skill!r} can be found",
                registered=False,
            )
        if barred:
            return NoAgent(f"no other agent with the skill {skill!r} is left to ask", registered=True)
        return NoAgent(
            f"no agent with the skill {skill!r} is registered: start one (parley up, or parley host … "
            "--registry URL) and send the task again",
            registered=False,
        )
