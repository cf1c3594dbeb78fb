"""Where the card of an agent is, by what people tell of it."""

import httpx

WELL_KNOWN = "/.well-known/agent-card.json"
"""Where a server shows its card (specification, section 8.2)."""


def card_url(url: str) -> str:
    """The URL that a card is fetched from: of a bare server, its well-known path. Raises httpx.InvalidURL."""
    place = httpx.URL(url).copy_with(fragment=None)
    return str(place.copy_with(path=WELL_KNOWN) if place.path in ("", "/") else place)
