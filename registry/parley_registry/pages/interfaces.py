"""Where an agent can be called from a page, and how a call fails; apart from the calls, whose client takes long to import."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parley_core.errors import ParleyError

BINDINGS = ("JSONRPC", "HTTP+JSON")
"""The bindings that pages speak."""


class CallFailed(ParleyError):
    """The agent could not be called, or did not do what it was asked to; the message is for the page."""


class TaskGone(CallFailed):
    """The agent does not know the task."""


@dataclass(frozen=True, slots=True)
class Interface:
    """Where an agent can be called: `id` names it in the addresses of pages."""

    id: str
    binding: str
    version: str
    url: str
    tenant: str = ""


def interfaces_of(card: Mapping[str, Any]) -> list[Interface]:
    """The interfaces of a card that can be called from here, in its order."""
    return [
        Interface(
            hashlib.blake2b(
                f"{one['protocolBinding']} {one['protocolVersion']} {one['url']} {one.get('tenant', '')}".encode(),
                digest_size=6,
            ).hexdigest(),
            one["protocolBinding"],
            one["protocolVersion"],
            one["url"],
            one.get("tenant", ""),
        )
        for one in card.get("supportedInterfaces", ())
        if one["protocolBinding"] in BINDINGS and one["url"].startswith(("http://", "https://"))
    ]
