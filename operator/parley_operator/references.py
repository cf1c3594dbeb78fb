"""The Secrets and ConfigMaps that agents refer to, and who is to know when one changes.

Only those that are named are ever read, one by one: the operator needs neither to list nor to watch the Secrets of a
cluster. They are read again in turns; of Secrets a hash is kept, never the content.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from parley_operator.kube.client import Kube
from parley_operator.kube.errors import ApiError, ApiUnavailable, NotFound
from parley_operator.kube.informer import Key
from parley_operator.kube.kinds import CONFIG_MAP, SECRET, Kind

_log = logging.getLogger(__name__)

_FRESH = 4.0
"""Seconds for which what was read counts as what is there."""
_RATE = 40.0
"""Read again in a second at most; with more than 160 that are referred to, a change is seen that much later."""


@dataclass(slots=True)
class _Known:
    hash: str | None = None
    """None: there is no such object."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Of a ConfigMap."""
    read: float = -_FRESH
    users: set[Key] = field(default_factory=set)


class References:
    """What is referred to. `changed` is told of every agent that refers to something that changed."""

    def __init__(self, kube: Kube, changed: Callable[[Key], None]) -> None:
        self._kube = kube
        self._changed = changed
        self._known: dict[tuple[Kind, Key], _Known] = {}
        self._used: dict[Key, frozenset[tuple[Kind, Key]]] = {}

    async def read(
        self, agent: Key, secrets: frozenset[str], configmaps: frozenset[str]
    ) -> tuple[dict[str, str], dict[str, Mapping[str, str]]]:
        """Of the Secrets that are there their hashes, of the ConfigMaps their data; from now on `agent` is told of
        changes of just these. Raises ApiUnavailable, ApiError."""
        wanted = frozenset(
            [(SECRET, Key(agent.namespace, name)) for name in secrets]
            + [(CONFIG_MAP, Key(agent.namespace, name)) for name in configmaps]
        )
        self._use(agent, wanted)
        known = {one: await self._fresh(*one) for one in sorted(wanted, key=lambda one: one[1])}
        return (
            {
                key.name: one.hash
                for (kind, key), one in known.items()
                if kind is SECRET and one.hash is not None
            },
            {
                key.name: one.data
                for (kind, key), one in known.items()
                if kind is CONFIG_MAP and one.hash is not None
            },
        )

    def forget(self, agent: Key) -> None:
        """The agent refers to nothing any more."""
        self._use(agent, frozenset())

    async def run(self) -> None:
        """Read all of them again and again, until cancelled."""
        while True:
            for kind, key in list(self._known):
                await asyncio.sleep(1 / _RATE)
                if (kind, key) in self._known:
                    try:
                        await self._fresh(kind, key)
                    except (ApiUnavailable, ApiError) as error:
                        _log.warning("cannot read the %s %s: %s", kind.name, "/".join(key), error)
                        await asyncio.sleep(1)
            await asyncio.sleep(0.5)

    async def _fresh(self, kind: Kind, key: Key) -> _Known:
        known = self._known.setdefault((kind, key), _Known())
        now = asyncio.get_running_loop().time()
        if now - known.read < _FRESH:
            return known
        try:
            found: Mapping[str, Any] | None = await self._kube.get(kind, key.namespace, key.name)
        except NotFound:
            found = None
        first, before = known.read < 0, known.hash
        known.read = now
        known.hash = _hash(found) if found is not None else None
        known.data = dict(found.get("data") or {}) if found is not None and kind is CONFIG_MAP else {}
        if not first and known.hash != before:
            for agent in known.users:
                self._changed(agent)
        return known

    def _use(self, agent: Key, wanted: frozenset[tuple[Kind, Key]]) -> None:
        before = self._used.get(agent, frozenset())
        for one in before - wanted:
            known = self._known[one]
            known.users.discard(agent)
            if not known.users:
                del self._known[one]
        for one in wanted - before:
            self._known.setdefault(one, _Known()).users.add(agent)
        if wanted:
            self._used[agent] = wanted
        else:
            self._used.pop(agent, None)


def _hash(of: Mapping[str, Any]) -> str:
    content = {"data": of.get("data") or {}, "binaryData": of.get("binaryData") or {}}
    return blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
