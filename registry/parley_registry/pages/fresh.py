"""How fresh a page is: what it shows, as one word that changes when it does, and whether that lags behind."""

import math
from dataclasses import dataclass

from parley_registry.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Shown:
    """The state that a page is made of. `word` is what it is asked about later (`seen`); `stale` says that it lags behind
    the registry of record, `why` in words, since `age` seconds (None: it never was in step)."""

    word: str
    stale: bool
    why: str
    age: float | None


async def shown_now(catalogue: Catalogue) -> Shown:
    """What a page made now shows. Raises Unavailable."""
    newest, freshness = await catalogue.last_change(), await catalogue.freshness()
    age = freshness.age if math.isfinite(freshness.age) else None
    return Shown(f"{newest}{'s' if freshness.stale else ''}", freshness.stale, freshness.why, age)
