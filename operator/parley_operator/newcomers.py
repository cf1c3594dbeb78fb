"""Which names the registry does not have, from one look at a namespace: many Agents that are made at once, as after an
operator's start, need no call each to be told that nothing is known of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from parley_core.errors import ParleyError
from parley_registry.client import Registry

_FRESH = 10.0
"""Seconds for which one look serves; what is heard of meanwhile is added to it."""
_FEW = 100
"""Entries that are looked at. When there are more, each agent is asked about by itself."""


@dataclass(slots=True)
class _Seen:
    until: float = 0.0
    names: set[str] | None = None
    """None: it is not known who is there."""
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Newcomers:
    """`at` gives the registry of a namespace."""

    def __init__(self, at: Callable[[str], Registry]) -> None:
        self._at = at
        self._seen: dict[str, _Seen] = {}

    async def has(self, namespace: str, name: str) -> bool:
        """Whether the registry surely has nothing of that name. False too when it cannot be asked so, as a Nacos without
        a catalogue."""
        seen = self._seen.setdefault(namespace, _Seen())
        async with seen.asking:
            if asyncio.get_running_loop().time() >= seen.until:
                seen.names = await self._names(namespace)
                seen.until = asyncio.get_running_loop().time() + _FRESH
        return seen.names is not None and name not in seen.names

    def heard_of(self, namespace: str, name: str) -> None:
        """Something has changed there of that name."""
        seen = self._seen.get(namespace)
        if seen is not None and seen.names is not None:
            seen.names.add(name)

    def clear(self) -> None:
        """Look again before anything is told."""
        self._seen.clear()

    async def _names(self, namespace: str) -> set[str] | None:
        try:
            page = await self._at(namespace).search(limit=_FEW)
        except ParleyError:
            return None
        return None if page.next else {hit.entry.name for hit in page.entries}
