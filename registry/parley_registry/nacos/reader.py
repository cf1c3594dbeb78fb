"""Reading agents from a Nacos: which there are, their versions, which is latest, and the cards."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from parley_registry.errors import UnknownAgent
from parley_registry.nacos.card import from_nacos
from parley_registry.nacos.config import ConfigKey, Configs
from parley_registry.nacos.held import AgentVersion, HeldVersion, Reading, seconds_of, with_a_latest
from parley_registry.nacos.http import NacosHttp
from parley_registry.nacos.layout import (
    AGENTS,
    VERSIONS,
    agent_config,
    nacos_name,
    nacos_version,
    version_config,
)

PATH = "/v3/admin/ai/a2a"
_CONFIGS = "/v3/admin/cs/config/list"
_NAMESPACES = "/v3/admin/core/namespace/list"
_PAGE = 500


class AgentReader:
    """The agents of a Nacos cluster, to be read. Calls raise RegistryUnavailable, NotAllowed, BadRequest."""

    def __init__(self, http: NacosHttp, configs: Configs) -> None:
        self._http = http
        self._configs = configs

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
        return list((await self.read(namespace, nacos_name(name), lambda _: False)).listed)

    async def get(self, namespace: str, name: str, version: str | None = None) -> HeldVersion | None:
        """A version (None: the latest) with its card; None when it does not exist.

        A version can be asked for as the card says it and as Nacos calls it.
        """
        wanted = named(version) if version is not None else lambda one: one.latest
        return next(iter((await self.read(namespace, nacos_name(name), wanted)).held), None)

    async def all_versions(self, namespace: str, called: str) -> list[HeldVersion]:
        """All versions of the agent that Nacos calls so (`layout.nacos_name`), in no particular order, with their cards.

        What holds no card is left out. None when there is no such agent.
        """
        return (await self.read(namespace, called)).held

    async def read(
        self, namespace: str, called: str, wanted: Callable[[AgentVersion], bool] = lambda _: True
    ) -> Reading:
        """The agent that Nacos calls so, with the cards of the versions that are `wanted`.

        It is read from where Nacos keeps it, for a third of what the same costs both sides through its API of agents; that is
        asked where it keeps them elsewhere.
        """
        began = time.monotonic()
        key = agent_config(namespace, called)
        found = await self._configs.get(key)
        listed = _listed(found.text) if found else None
        if listed is None:
            listed = await self._asked(namespace, called)
        sound = not listed or any(one.latest for one in listed)
        md5s = {key: found.md5} if found else {}
        reading = Reading(began, tuple(with_a_latest(listed)), sound, {}, md5s)
        return await self.complete(namespace, called, reading, wanted)

    async def complete(
        self,
        namespace: str,
        called: str,
        reading: Reading,
        wanted: Callable[[AgentVersion], bool] = lambda _: True,
    ) -> Reading:
        """The same with the cards that are `wanted` and were not read yet."""
        cards, md5s = dict(reading.cards), dict(reading.md5s)
        for one in reading.listed:
            if one.called not in cards and wanted(one):
                key = version_config(namespace, called, one.called)
                found = await self._configs.get(key)
                if found is not None:
                    md5s[key] = found.md5
                    cards[one.called] = _held(one, _loaded(found.text))
                elif reading.sound:  # 3.1 fails to tell any version of an agent that has no latest
                    cards[one.called] = _held(one, await self._told(namespace, called, one))
                else:
                    cards[one.called] = None
        return replace(reading, cards=cards, md5s=md5s)

    async def _asked(self, namespace: str, called: str) -> list[AgentVersion]:
        try:
            told = await self._http.get(
                f"{PATH}/version/list", {"namespaceId": namespace, "agentName": called}
            )
        except UnknownAgent:
            return []
        return [_version(one) for one in told or ()]

    async def _told(self, namespace: str, called: str, one: AgentVersion) -> Any:
        query = {
            "namespaceId": namespace,
            "agentName": called,
            "version": one.called,
            "registrationType": "URL",  # the card as it was sent, not with the endpoints that live just now
        }
        try:
            return await self._http.get(PATH, query)
        except UnknownAgent:
            return None

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


def named(version: str) -> Callable[[AgentVersion], bool]:
    """Whether a version is this one, as a card says it or as Nacos calls it."""
    return lambda one: one.called in (version, nacos_version(version))


def _listed(text: str) -> list[AgentVersion] | None:
    """The versions of which Nacos keeps a list; None for what is no list of it."""
    told = _loaded(text).get("versionDetails")
    if not isinstance(told, list):
        return None
    return [_version(one) for one in told if isinstance(one, dict) and one.get("version")]


def _version(told: Mapping[str, Any]) -> AgentVersion:
    return AgentVersion(str(told["version"]), bool(told.get("latest")), seconds_of(told.get("updatedAt")))


def _held(one: AgentVersion, native: Any) -> HeldVersion | None:
    try:
        return HeldVersion(from_nacos(native), one.latest, one.updated, native)
    except (TypeError, ValueError):
        return None


def _loaded(text: str) -> dict[str, Any]:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}
