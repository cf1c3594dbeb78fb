"""An agent's version as Nacos holds it, in the registry's own words."""

from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict

from parley_core.cardsignature import check
from parley_registry.entry import Entry, Health
from parley_registry.nacos.held import HeldVersion
from parley_registry.nacos.layout import instance_of, interfaces_of
from parley_registry.nacos.naming import Endpoint
from parley_registry.record import Stored
from parley_registry.shown import shown_card


def stored_of(namespace: str, held: HeldVersion, endpoints: tuple[Endpoint, ...]) -> Stored:
    """The entry of a version that has these endpoints, healthy or not.

    It is down without a healthy one; unknown if it is registered by its URL alone, so that none is to be expected.
    """
    alive = [one for one in endpoints if one.healthy]
    told = [interfaces_of(one.metadata) for one in alive]
    by_url = held.native.get("registrationType") == "URL" and not endpoints
    health: Health = "up" if alive else "unknown" if by_url else "down"
    card = held.card.checked
    return Stored(
        namespace=namespace,
        name=card.card.name,
        version=card.card.version,
        latest=held.latest,
        health=health,
        instances=tuple(instance_of(one) for one in alive),
        interfaces=tuple(one for one in told if one != b"[]"),
        source="",
        owner="",
        card=card.json,
        digest=card.digest,
        updated=held.updated,
    )


def entry_of(stored: Stored) -> Entry:
    """The entry as clients get it who read Nacos directly: they trust nobody's keys, that is what a catalogue is told."""
    card = ParseDict(shown_card(stored), AgentCard(), ignore_unknown_fields=True)
    return Entry(
        namespace=stored.namespace,
        name=stored.name,
        version=stored.version,
        latest=stored.latest,
        health=stored.health,
        instances=stored.instances,
        external=False,
        card=card,
        updated=stored.updated,
        signature=check(card, lambda _key, _algorithm: ()),
        owner=stored.owner,
    )
