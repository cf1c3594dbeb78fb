"""Cards of A2A 0.3, read as cards of 1.0."""

from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict, ParseError


def modern(card: Any) -> Any:
    """A card of A2A 0.3 in the form of 1.0; any other value as it is."""
    if not isinstance(card, dict) or "supportedInterfaces" in card or "url" not in card:
        return card
    from a2a.client.card_resolver import (
        parse_agent_card,  # half of the registry service's start time, and seldom needed
    )

    try:
        lifted = MessageToDict(parse_agent_card(orjson.loads(orjson.dumps(card))))
    except (ParseError, ValueError, KeyError, TypeError, AttributeError):
        return card
    for interface in lifted.get("supportedInterfaces", ()):
        interface["protocolVersion"] = ".".join(str(interface.get("protocolVersion", "0.3")).split(".")[:2])
    return lifted
