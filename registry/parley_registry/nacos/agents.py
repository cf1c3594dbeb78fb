"""Nacos's A2A registry: the cards of agents, their versions, and which is latest.

Nacos itself loses versions when two write one agent at once, and tells what was for a moment after a change. So
writers take turns (see `lock`), and a call that changed something returns when the change is to be seen.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson

from parley_registry.card import CheckedCard
from parley_registry.errors import LatestInUse, RegistryUnavailable, UnknownAgent, VersionConflict
from parley_registry.nacos.card import from_nacos, stored_form, to_nacos
from parley_registry.nacos.config import ConfigKey, Configs
from parley_registry.nacos.held import AgentVersion, HeldVersion, seconds_of, with_a_latest
from parley_registry.nacos.http import AlreadyThere, NacosHttp
from parley_registry.nacos.layout import AGENTS, VERSIONS, nacos_name, nacos_version, version_config
from parley_registry.nacos.lock import Locks
from parley_registry.versions import becomes_latest, is_version

_PATH = "/v3/admin/ai/a2a"
_CONFIGS = "/v3/admin/cs/config/list"
_NAMESPACES = "/v3/admin/core/namespace/list"
_PAGE = 500
_SEEN_WITHIN = 5.0
"""Seconds within which a change is to be seen; Nacos takes 1.1 at worst where it was measured."""


class Agents:
    """The agents of a Nacos cluster. Names and versions are the registry's own; how Nacos calls them is dealt with here.

    Calls raise RegistryUnavailable, NotAllowed, BadRequest.
    """

    def __init__(self, http: NacosHttp, configs: Configs, locks: Locks) -> None:
        self._http = http
        self._configs = configs
        self._locks = locks

    # -- reading

    async def namespaces(self) -> list[str]:
        """The ids of the namespaces that were created. Nacos takes agents in others too, which are not listed."""
        told = await self._http.get(_NAMESPACES, {})
        return [str(one["namespace"]) or "public" for one in told]

    async def listed(self, namespace: str) -> dict[ConfigKey, tuple[str, str]]:
        """All that Nacos keeps of the agents of a namespace: for each config its agent, as Nacos calls it, and its md5.

        When none of an agent's changed, the agent has not. Costs a small request for 500 configs: no cards are sent.
        """
        found: dict[ConfigKey, tuple[str, str]] = {}
        for group in (AGENTS, VERSIONS):
            query = {"namespaceId": namespace, "groupName": group, "dataId": "", "search": "blur"}
            async for one in self._pages(_CONFIGS, query):
                key = ConfigKey(namespace, group, str(one["dataId"]))
                found[key] = (str(one["appName"]), str(one["md5"]))
        return found

    async def versions(self, namespace: str, name: str) -> list[AgentVersion]:
        """The versions of an agent, in no particular order; none when there is no such agent."""
        return (await self._versions(namespace, nacos_name(name)))[0]

    async def get(self, namespace: str, name: str, version: str | None = None) -> HeldVersion | None:
        """A version (None: the latest) with its card; None when it does not exist.

        A version can be asked for as the card says it and as Nacos calls it.
        """
        called = nacos_name(name)
        listed, sound = await self._versions(namespace, called)
        for one in listed:
            if one.latest if version is None else _is(version)(one):
                return await self._held(namespace, called, one, sound=sound)
        return None

    async def all_versions(self, namespace: str, called: str) -> list[HeldVersion]:
        """All versions of the agent that Nacos calls so (`layout.nacos_name`), in no particular order, with their cards.

        What holds no card is left out. None when there is no such agent.
        """
        listed, sound = await self._versions(namespace, called)
        found = [await self._held(namespace, called, one, sound=sound) for one in listed]
        return [one for one in found if one is not None]

    async def _versions(self, namespace: str, called: str) -> tuple[list[AgentVersion], bool]:
        """The versions, and whether one of them is the latest for Nacos too."""
        try:
            told = await self._http.get(
                f"{_PATH}/version/list", {"namespaceId": namespace, "agentName": called}
            )
        except UnknownAgent:
            return [], True
        listed = [
            AgentVersion(str(one["version"]), bool(one.get("latest")), seconds_of(one.get("updatedAt")))
            for one in told or ()
        ]
        return with_a_latest(listed), any(one.latest for one in listed)

    async def _held(
        self, namespace: str, called: str, one: AgentVersion, *, sound: bool
    ) -> HeldVersion | None:
        query = {
            "namespaceId": namespace,
            "agentName": called,
            "version": one.called,
            "registrationType": "URL",  # the card as it was sent, not with the endpoints that live just now
        }
        try:
            native = (
                await self._http.get(_PATH, query) if sound else await self._stored(namespace, called, one)
            )
            return HeldVersion(from_nacos(native), one.latest, one.updated, native)
        except (UnknownAgent, ValueError):
            return None

    async def _stored(self, namespace: str, called: str, one: AgentVersion) -> dict[str, Any]:
        """The card from where Nacos keeps it: 3.1 fails to tell any version of an agent that has no latest."""
        found = await self._configs.get(version_config(namespace, called, one.called))
        told = orjson.loads(found.text) if found else {}
        return told if isinstance(told, dict) else {}

    async def _pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        number = 1
        while True:
            page = {"pageNo": str(number), "pageSize": str(_PAGE)}
            told = await self._http.get(path, {**query, **page})
            for one in told.get("pageItems") or ():
                yield one
            if number >= int(told.get("pagesAvailable") or 0):
                return
            number += 1

    # -- writing

    async def publish(self, namespace: str, checked: CheckedCard) -> bool:
        """Keep a card as its version; latest if `versions.becomes_latest`. Whether the version is new.

        The same card again changes nothing, except that its signatures (and with them its addresses) are renewed.
        Raises VersionConflict when the version is held with another card.
        """
        name, version = checked.card.name, checked.card.version
        if _is_kept(checked, await self.get(namespace, name, version)):
            return False
        async with self._locks.hold(_key(namespace, name)):
            try:
                return await self._write(namespace, checked)
            except AlreadyThere:  # another program, or a call of ours given up, created it just now
                await self._seen(lambda: self.versions(namespace, name))
                return await self._write(namespace, checked)

    async def _write(self, namespace: str, checked: CheckedCard) -> bool:
        name, version = checked.card.name, checked.card.version
        listed = await self.versions(namespace, name)
        here = next((one for one in listed if _is(version)(one)), None)
        held = await self.get(namespace, name, version) if here else None
        if _is_kept(checked, held):
            return False
        if listed:
            others = [one.called.replace("_", "+") for one in listed if not _is(version)(one)]
            latest = here.latest if here else becomes_latest(version, filter(is_version, others))
            await self._put(namespace, to_nacos(checked), latest=latest)
        else:
            await self._http.post(
                _PATH, _form(namespace, to_nacos(checked)) | {"registrationType": "SERVICE"}
            )
        await self._seen(lambda: self._shows(namespace, checked))
        return here is None

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
            here = [one for one in listed if version is None or _is(version)(one)]
            if not here:
                return False
            if version is not None:
                _require_not_latest(name, version, listed)
            query = {"namespaceId": namespace, "agentName": nacos_name(name)}
            await self._http.delete(_PATH, query | ({"version": here[0].called} if version else {}))
            await self._seen(lambda: self._is_gone(namespace, name, version))
            return True

    async def require_not_latest(self, namespace: str, name: str, version: str) -> None:
        """Raise LatestInUse when the version is the latest of several."""
        _require_not_latest(name, version, await self.versions(namespace, name))

    async def _put(self, namespace: str, card: Mapping[str, Any], *, latest: bool) -> None:
        await self._http.put(_PATH, _form(namespace, card) | {"setAsLatest": "true" if latest else "false"})

    async def _shows(self, namespace: str, checked: CheckedCard) -> bool:
        held = await self.get(namespace, checked.card.name, checked.card.version)
        return held is not None and held.card.checked.json == checked.json

    async def _is_latest(self, namespace: str, name: str, version: str) -> bool:
        listed = await self.versions(namespace, name)
        return any(one.latest for one in listed if _is(version)(one))

    async def _is_gone(self, namespace: str, name: str, version: str | None) -> bool:
        listed = await self.versions(namespace, name)
        return not any(version is None or _is(version)(one) for one in listed)

    async def _seen(self, is_so: Callable[[], Any]) -> None:
        until, pause = time.monotonic() + _SEEN_WITHIN, 0.02
        while not await is_so():
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


def _is(version: str) -> Callable[[AgentVersion], bool]:
    return lambda one: one.called in (version, nacos_version(version))


def _require_not_latest(name: str, version: str, listed: list[AgentVersion]) -> None:
    if len(listed) > 1 and any(one.latest for one in listed if _is(version)(one)):
        raise LatestInUse(
            f"{version} is the latest version of {name} and others exist; set another one as latest first, or delete the "
            "agent with all its versions"
        )


def _is_kept(checked: CheckedCard, held: HeldVersion | None) -> bool:
    """Whether nothing has to be written. Raises VersionConflict."""
    if held is None:
        return False
    there = held.card.checked
    if there.digest != checked.digest:
        raise VersionConflict(
            f"{checked.card.name} {checked.card.version} is already published with another card; a published version does "
            "not change: raise the card's version and publish that"
        )
    signed = checked.card.signatures or there.card.signatures
    return there.json == checked.json or not signed
