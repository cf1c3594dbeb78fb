"""Nacos's A2A registry: the cards of agents, their versions, and which is latest.

Nacos itself loses versions when two write one agent at once, and tells what was for a moment after a change. So
writers take turns (see `lock`), and a call that changed something returns when the change is to be seen.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import orjson

from parley_registry.card import CheckedCard
from parley_registry.errors import LatestInUse, RegistryUnavailable, VersionConflict
from parley_registry.nacos.card import stored_form, to_nacos
from parley_registry.nacos.config import Configs
from parley_registry.nacos.held import AgentVersion, Kept, Reading
from parley_registry.nacos.http import AlreadyThere, NacosHttp
from parley_registry.nacos.layout import nacos_name
from parley_registry.nacos.lock import Locks
from parley_registry.nacos.reader import PATH, AgentReader, named
from parley_registry.versions import becomes_latest, is_version

T = TypeVar("T")

_SEEN_WITHIN = 5.0
"""Seconds within which a change is to be seen; Nacos takes 1.1 at worst where it was measured."""


class Agents(AgentReader):
    """The agents of a Nacos cluster. Names and versions are the registry's own; how Nacos calls them is dealt with here.

    Calls raise RegistryUnavailable, NotAllowed, BadRequest.
    """

    def __init__(self, http: NacosHttp, configs: Configs, locks: Locks) -> None:
        super().__init__(http, configs)
        self._locks = locks

    async def publish(self, namespace: str, checked: CheckedCard, *, unknown: bool = False) -> Kept:
        """Keep a card as its version; latest if `versions.becomes_latest`.

        The same card again changes nothing, except that its signatures (and with them its addresses) are renewed.
        `unknown` spares a look at an agent that is probably new. Raises VersionConflict when the version is held with
        another card.
        """
        name, version = checked.card.name, checked.card.version
        reading = None if unknown else await self._read_one(namespace, name, version)
        if reading is not None and _is_kept(checked, reading):
            return Kept(False, reading)
        async with self._locks.hold(_key(namespace, name)):
            try:
                if reading is None or not reading.listed:
                    return await self._create(namespace, checked)
                return await self._write(namespace, checked)
            except AlreadyThere:  # another program, or a call of ours given up, created it just now
                await self._seen(lambda: self.versions(namespace, name))
                return await self._write(namespace, checked)

    async def _create(self, namespace: str, checked: CheckedCard) -> Kept:
        """Raises AlreadyThere."""
        await self._http.post(PATH, _form(namespace, to_nacos(checked)) | {"registrationType": "SERVICE"})
        return Kept(True, await self._seen(lambda: self._shows(namespace, checked)))

    async def _write(self, namespace: str, checked: CheckedCard) -> Kept:
        name, version = checked.card.name, checked.card.version
        reading = await self._read_one(namespace, name, version)
        if _is_kept(checked, reading):
            return Kept(False, reading)
        if not reading.listed:
            return await self._create(namespace, checked)
        here = next((one for one in reading.listed if named(version)(one)), None)
        others = [one.called.replace("_", "+") for one in reading.listed if not named(version)(one)]
        latest = here.latest if here else becomes_latest(version, filter(is_version, others))
        await self._put(namespace, to_nacos(checked), latest=latest)
        return Kept(here is None, await self._seen(lambda: self._shows(namespace, checked)))

    async def set_latest(self, namespace: str, name: str, version: str) -> bool:
        """Make a version the latest; False when it does not exist."""
        async with self._locks.hold(_key(namespace, name)):
            held = await self.get(namespace, name, version)
            if held is None:
                return False
            if not held.latest:
                await self._put(namespace, stored_form(held.native), latest=True)
                await self._seen(lambda: self._is_latest(namespace, name, version))
            return True

    async def delete(self, namespace: str, name: str, version: str | None = None) -> bool:
        """Delete a version, or all of an agent; False when there is nothing to delete.

        Raises LatestInUse for the latest version while others exist.
        """
        async with self._locks.hold(_key(namespace, name)):
            listed = await self.versions(namespace, name)
            here = [one for one in listed if version is None or named(version)(one)]
            if not here:
                return False
            if version is not None:
                _require_not_latest(name, version, listed)
            query = {"namespaceId": namespace, "agentName": nacos_name(name)}
            await self._http.delete(PATH, query | ({"version": here[0].called} if version else {}))
            await self._seen(lambda: self._is_gone(namespace, name, version))
            return True

    async def require_not_latest(self, namespace: str, name: str, version: str) -> None:
        """Raise LatestInUse when the version is the latest of several."""
        _require_not_latest(name, version, await self.versions(namespace, name))

    async def _put(self, namespace: str, card: Mapping[str, Any], *, latest: bool) -> None:
        await self._http.put(PATH, _form(namespace, card) | {"setAsLatest": "true" if latest else "false"})

    async def _read_one(self, namespace: str, name: str, version: str) -> Reading:
        return await self.read(namespace, nacos_name(name), named(version))

    async def _shows(self, namespace: str, checked: CheckedCard) -> Reading | None:
        reading = await self._read_one(namespace, checked.card.name, checked.card.version)
        return reading if any(one.card.checked.json == checked.json for one in reading.held) else None

    async def _is_latest(self, namespace: str, name: str, version: str) -> bool:
        listed = await self.versions(namespace, name)
        return any(one.latest for one in listed if named(version)(one))

    async def _is_gone(self, namespace: str, name: str, version: str | None) -> bool:
        listed = await self.versions(namespace, name)
        return not any(version is None or named(version)(one) for one in listed)

    async def _seen(self, is_so: Callable[[], Awaitable[T | None]]) -> T:
        until, pause = time.monotonic() + _SEEN_WITHIN, 0.02
        while True:
            if seen := await is_so():
                return seen
            if time.monotonic() > until:
                raise RegistryUnavailable(
                    f"{self._http.address} took a change but does not show it after {_SEEN_WITHIN:g} s; "
                    "another may have undone it: try again"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.25)


def _key(namespace: str, name: str) -> str:
    return f"parley/{namespace}/{nacos_name(name)}"


def _form(namespace: str, card: Mapping[str, Any]) -> dict[str, str]:
    return {"namespaceId": namespace, "agentCard": orjson.dumps(card).decode()}


def _require_not_latest(name: str, version: str, listed: list[AgentVersion]) -> None:
    if len(listed) > 1 and any(one.latest for one in listed if named(version)(one)):
        raise LatestInUse(
            f"{version} is the latest version of {name} and others exist; set another one as latest first, or delete the "
            "agent with all its versions"
        )


def _is_kept(checked: CheckedCard, reading: Reading) -> bool:
    """Whether nothing has to be written. Raises VersionConflict."""
    for held in reading.held:
        there = held.card.checked
        if there.digest != checked.digest:
            raise VersionConflict(
                f"{checked.card.name} {checked.card.version} is already published with another card; a published version "
                "does not change: raise the card's version and publish that"
            )
        signed = checked.card.signatures or there.card.signatures
        return there.json == checked.json or not signed
    return False
