"""The card that an entry is shown with: as published, at the addresses where it lives now."""

from typing import Any

import orjson

from parley_registry.record import Stored

_MOST = 64
"""Interfaces of a card at most."""


def shown_card(entry: Stored) -> dict[str, Any]:
    """The card as ProtoJSON.

    One that is not signed names the interfaces of all live instances. One that is signed is to the byte what the
    instance that came last has signed, and names that one's: nothing may be added to it.
    """
    card: dict[str, Any] = orjson.loads(entry.card)
    alive = [orjson.loads(one) for one in entry.interfaces]
    signed = [one for one in alive if isinstance(one, dict)]
    if signed:
        return {**card, **signed[-1]}
    if alive and "signatures" not in card:
        every = (place for one in alive for place in one)
        card["supportedInterfaces"] = list({orjson.dumps(place): place for place in every}.values())[:_MOST]
    return card
