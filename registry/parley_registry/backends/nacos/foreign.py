"""Cards that others put into Nacos: shown although they break this registry's rules, with what they lack left empty."""

from typing import Any

import orjson

from parley_registry.card import check_card
from parley_registry.errors import CardRejected

_CARD: dict[str, Any] = {"description": "", "capabilities": {}, "skills": [], "supportedInterfaces": []}
_SKILL: dict[str, Any] = {"id": "", "name": "", "description": "", "tags": []}
_INTERFACE = {"url": "", "protocolBinding": "", "protocolVersion": ""}


def completed(card: bytes) -> bytes:
    """A card, canonical JSON, with empty values for what the protocol requires and it lacks, so that whoever reads it later
    finds that."""
    told: dict[str, Any] = _CARD | orjson.loads(card)
    told["skills"] = [_SKILL | one for one in told["skills"]]
    told["supportedInterfaces"] = [_INTERFACE | one for one in told["supportedInterfaces"]]
    for extension in told["capabilities"].get("extensions", ()):
        extension.setdefault("uri", "")
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


def faults_of(card: bytes) -> tuple[str, ...]:
    """Which rules of this registry the card of another breaks, in words."""
    try:
        check_card(orjson.loads(card))
    except CardRejected as error:
        return tuple(str(fault) for fault in error.faults)
    return ()
