"""Which configs or services of a group there are, told as they come and go (Nacos's "fuzzy watch", from 3.0).

Nacos tells of a limited number of keys a group (500 unless its settings say more). Beyond that a watch is not
`complete` and whoever needs all has to ask from time to time.
"""

from collections.abc import Callable
from typing import Any

from parley_registry.nacos.connection import Limited, NacosConnection
from parley_registry.nacos.wanted import Wanted

_RESYNC = 60.0

Told = Callable[[str, bool], None]


class KeyWatch:
    """Ends with `close`. `complete` is False while Nacos tells of some keys only (None: not known yet)."""

    def __init__(self, watches: "KeyWatches", namespace: str, group: str, told: Told) -> None:
        self._watches = watches
        self.namespace = namespace
        self.group = group
        self.told = told
        self.known: dict[str, str] = {}
        """The names told so far, by Nacos's key."""
        self.complete: bool | None = None

    def close(self) -> None:
        """Tell no more."""
        self._watches.drop(self)

    @property
    def pattern(self) -> str:
        return f"{self.namespace}>>{self.group}>>*"


class KeyWatches:
    """The watches of one kind ("Config" or "Naming") on one connection. `parse` takes a key apart."""

    def __init__(
        self,
        connection: NacosConnection,
        kind: str,
        key: str,
        parse: Callable[[str], tuple[str, str, str]],
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._key = key
        self._parse = parse
        self._watches: dict[str, list[KeyWatch]] = {}
        self._wanted = Wanted(
            connection, f"{kind.lower()}-keys", self._settle, lambda: list(self._watches), resync=_RESYNC
        )
        connection.on(f"{kind}FuzzyWatchSyncRequest", self._synced)
        connection.on(f"{kind}FuzzyWatchChangeNotifyRequest", self._changed)

    def start(self) -> None:
        """Begin."""
        self._wanted.start()

    async def close(self) -> None:
        """Stop."""
        await self._wanted.close()

    def add(self, namespace: str, group: str, told: Told) -> KeyWatch:
        """Have `told(name, exists)` called for each key there is and each change. It must not block."""
        watch = KeyWatch(self, namespace, group, told)
        self._watches.setdefault(watch.pattern, []).append(watch)
        self._wanted.tell(watch.pattern)
        return watch

    def drop(self, watch: KeyWatch) -> None:
        """See `KeyWatch.close`."""
        others = self._watches.get(watch.pattern, [])
        if watch in others:
            others.remove(watch)
            if not others:
                del self._watches[watch.pattern]
                self._wanted.tell(watch.pattern)

    async def _settle(self, patterns: list[str]) -> None:
        for pattern in patterns:
            watches = self._watches.get(pattern, [])
            known = set.intersection(*(set(watch.known) for watch in watches)) if watches else set()
            body: dict[str, Any] = {
                "groupKeyPattern": pattern,
                "namespace": pattern.partition(">>")[0],
                "watchType": "WATCH" if watches else "CANCEL_WATCH",
                "receivedGroupKeys": sorted(known),
                "initializing": not known,
            }
            complete = True
            try:
                await self._connection.call(f"{self._kind}FuzzyWatchRequest", body)
            except Limited:
                complete = False
            for watch in watches:
                watch.complete = complete

    def _synced(self, body: dict[str, Any]) -> None:
        for context in body.get("contexts") or ():
            self._tell(str(context[self._key]), str(context.get("changedType") or ""))

    def _changed(self, body: dict[str, Any]) -> None:
        self._tell(str(body[self._key]), str(body.get("changedType") or body.get("changeType") or ""))

    def _tell(self, key: str, change: str) -> None:
        namespace, group, name = self._parse(key)
        exists = not change.startswith("DELETE")
        for watch in list(self._watches.get(f"{namespace}>>{group}>>*", ())):
            if exists and key not in watch.known:
                watch.known[key] = name
                watch.told(name, True)
            elif not exists and watch.known.pop(key, None) is not None:
                watch.told(name, False)
