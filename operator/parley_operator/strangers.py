"""Objects that bear the name of one that is to be made, and are somebody else's: they are not touched."""

import asyncio
from typing import NamedTuple

from parley_operator.kube.client import Kube
from parley_operator.kube.kinds import Kind

_OTHERS = "app.kubernetes.io/managed-by!=parley-operator"
_FRESH = 10.0
"""Seconds for which the names of a namespace are taken to be known."""
_MANY = 1000


class _Where(NamedTuple):
    kind: Kind
    namespace: str


class Strangers:
    """The names in use by others, by kind and namespace: asked for only when something is to be made there."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._known: dict[_Where, tuple[float, frozenset[str]]] = {}
        self._asking = asyncio.Lock()

    async def has(self, kind: Kind, namespace: str, name: str) -> bool:
        """Whether an object that is not the operator's has this name. Raises ApiUnavailable, ApiError."""
        where = _Where(kind, namespace)
        async with self._asking:
            now = asyncio.get_running_loop().time()
            until, names = self._known.get(where, (0.0, frozenset[str]()))
            if now > until:
                names = await self._kube.names(kind, namespace, labels=_OTHERS)
                if len(self._known) >= _MANY:
                    self._known.clear()
                self._known[where] = (now + _FRESH, names)
            return name in names
