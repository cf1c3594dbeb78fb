"""Configs: read, published (also only if unchanged since they were read), removed, listened to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from parley_registry.errors import BadRequest, RegistryUnavailable
from parley_registry.nacos.connection import NacosConnection, NotThere
from parley_registry.nacos.keys import KeyWatch, KeyWatches
from parley_registry.nacos.wanted import Wanted

_RESYNC = 60.0
"""Seconds after which all configs listened to are compared although nothing was pushed."""
_BATCH = 500
_TRIES = 40
_PAUSE = 0.05
"""A config that the server is just writing is not given; that is over within some 100 ms."""


class ConfigKey(NamedTuple):
    """What identifies a config. Group and id are of letters, digits, `_`, `-`, `.`, `:`; the id has at most 255."""

    namespace: str
    group: str
    id: str


@dataclass(frozen=True, slots=True)
class Config:
    """A config as it was read: its text, Nacos's hash of it, and when it changed (seconds since the epoch)."""

    text: str
    md5: str
    changed: float


Told = Callable[[Config | None], None]


class Listener:
    """Ends with `close`."""

    def __init__(self, configs: "Configs", key: ConfigKey, told: Told, since: str) -> None:
        self._configs = configs
        self.key = key
        self.told = told
        self.md5: str | None = since or None
        """Of what was told last; "" when it was that there is no config."""

    def close(self) -> None:
        """Tell no more."""
        self._configs._drop(self)


class Configs:
    """Nacos's config service over one connection. `start` it, and `close` it before the connection.

    Calls raise RegistryUnavailable, NotAllowed and BadRequest.
    """

    def __init__(self, connection: NacosConnection) -> None:
        self._connection = connection
        self._listeners: dict[ConfigKey, list[Listener]] = {}
        self._wanted = Wanted(
            connection, "configs", self._settle, self._all_keys, batch=_BATCH, resync=_RESYNC
        )
        self._watches = KeyWatches(connection, "Config", "groupKey", _config_of)
        connection.on("ConfigChangeNotifyRequest", self._pushed)

    def start(self) -> None:
        """Begin to keep listeners."""
        self._wanted.start()
        self._watches.start()

    async def close(self) -> None:
        """Stop."""
        await self._wanted.close()
        await self._watches.close()

    async def get(self, key: ConfigKey) -> Config | None:
        """A config, or None when there is none."""
        for _ in range(_TRIES):
            try:
                told = await self._connection.call("ConfigQueryRequest", _body(key))
                break
            except NotThere:
                return None
            except BadRequest as error:
                if "try later" not in str(error):  # said while the server writes the config down
                    raise
                await asyncio.sleep(_PAUSE)
        else:
            raise RegistryUnavailable(
                f"Nacos keeps writing the config {key.id} of group {key.group}; try again"
            )
        return Config(
            str(told.get("content") or ""),
            str(told.get("md5") or ""),
            float(told.get("lastModified") or 0) / 1000,
        )

    async def publish(self, key: ConfigKey, text: str, *, since: str = "", kind: str = "json") -> None:
        """Publish a config; with `since` (an `md5`) only if it is still that one, else Overtaken is raised.

        Listeners are told within a few hundred ms; so long a read may still give what was before.
        """
        body = _body(key) | {"content": text, "casMd5": since, "additionMap": {"type": kind}}
        await self._connection.call("ConfigPublishRequest", body, deadline=5.0)

    async def remove(self, key: ConfigKey) -> None:
        """Remove a config; one that does not exist too."""
        await self._connection.call("ConfigRemoveRequest", _body(key), deadline=5.0)

    def listen(self, key: ConfigKey, told: Told, *, since: str = "") -> Listener:
        """Have `told` called with a config (None: there is none): soon, and each time it changes. It must not block.

        With `since` (the `md5` of what is known already) it is called only once that is not so any more. Of changes
        that follow each other closely only the last may be told.
        """
        listener = Listener(self, key, told, since)
        self._listeners.setdefault(key, []).append(listener)
        self._wanted.tell(key)
        return listener

    def watch(self, namespace: str, group: str, told: Callable[[str, bool], None]) -> KeyWatch:
        """Have `told(id, exists)` called for each config of a group now, and when one comes or goes."""
        return self._watches.add(namespace, group, told)

    def _all_keys(self) -> list[ConfigKey]:
        return list(self._listeners)

    def _drop(self, listener: Listener) -> None:
        others = self._listeners.get(listener.key, [])
        if listener in others:
            others.remove(listener)
            if not others:
                del self._listeners[listener.key]
                self._wanted.tell(listener.key)

    async def _settle(self, keys: list[ConfigKey]) -> None:
        """Listen at the server, then read what differs from what was told."""
        if gone := [key for key in keys if key not in self._listeners]:
            await self._ask(gone, listen=False)
        if wanted := [key for key in keys if key in self._listeners]:
            different = await self._ask(wanted, listen=True)
            for key in wanted:
                if key in different or any(one.md5 is None for one in self._listeners.get(key, ())):
                    self._take(key, await self.get(key))

    async def _ask(self, keys: list[ConfigKey], *, listen: bool) -> set[ConfigKey]:
        contexts = [
            {"tenant": key.namespace, "group": key.group, "dataId": key.id, "md5": self._md5(key)}
            for key in keys
        ]
        body = {"listen": listen, "configListenContexts": contexts}
        told = await self._connection.call("ConfigBatchListenRequest", body, deadline=10.0)
        return {
            ConfigKey(str(one.get("tenant") or ""), str(one["group"]), str(one["dataId"]))
            for one in told.get("changedConfigs") or ()
        }

    def _md5(self, key: ConfigKey) -> str:
        """What the listeners of a key know; "" if they do not know the same."""
        known = {one.md5 or "" for one in self._listeners.get(key, ())}
        return known.pop() if len(known) == 1 else ""

    def _pushed(self, body: dict[str, Any]) -> None:
        key = ConfigKey(str(body.get("tenant") or ""), str(body["group"]), str(body["dataId"]))
        if key in self._listeners:
            self._wanted.tell(key)

    def _take(self, key: ConfigKey, config: Config | None) -> None:
        md5 = config.md5 if config else ""
        for listener in list(self._listeners.get(key, ())):
            if listener.md5 != md5:
                listener.md5 = md5
                listener.told(config)


def _body(key: ConfigKey) -> dict[str, Any]:
    return {"tenant": key.namespace, "group": key.group, "dataId": key.id}


def _config_of(key: str) -> tuple[str, str, str]:
    """Nacos joins id, group and namespace with `+`."""
    id_, group, namespace = (_unmask(part) for part in key.split("+", 2))
    return namespace, group, id_


def _unmask(part: str) -> str:
    return part.replace("%2B", "+").replace("%25", "%")
