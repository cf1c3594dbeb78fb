"""A registry that is Nacos itself: what a host with `--registry nacos://…` publishes to, without a service between."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self, Unpack

from a2a.types import AgentCard
from google.protobuf.json_format import MessageToDict

from parley_core.bearer import Bearer
from parley_core.errors import ParleyError
from parley_registry.card import check_card
from parley_registry.criteria import Criteria
from parley_registry.entry import Agent, Change, Entry, Instance, Key, Page
from parley_registry.errors import RegistryUnavailable, UnknownAgent, UnknownInstance
from parley_registry.httpregistry import RegistryClient
from parley_registry.mcp.library import McpLibrary
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.catalogues import catalogue_service, catalogue_urls
from parley_registry.nacos.entries import entry_of, stored_of
from parley_registry.nacos.held import HeldVersion
from parley_registry.nacos.layout import nacos_name, service_of
from parley_registry.nacos.mcpreading import NacosMcpServers
from parley_registry.nacos.naming import Endpoint
from parley_registry.nacos.presence import Presence
from parley_registry.nacos.removal import remove
from parley_registry.nacos.server import Nacos
from parley_registry.port import Registry
from parley_registry.prompts.records.nacos_either import NacosPromptSource
from parley_registry.rollout import Rollout
from parley_registry.versions import highest_first, is_version

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 3.0
"""How long a catalogue may take to say that it is there, before Nacos itself is asked instead."""


class NacosRegistry:
    """`port.Registry` on the agents of the first namespace of an address. Use as an async context manager, or `aclose` it.

    Connects when first used. What Nacos cannot do, `search` and `watch`, is asked of the catalogue that has
    registered itself there; `token` is for that. Every call raises RegistryUnavailable when Nacos cannot be
    reached within `timeout` seconds or fails, and NotAllowed when it does not accept user or password.
    """

    def __init__(
        self, address: NacosAddress, *, token: str | Bearer | None = None, timeout: float = 10.0
    ) -> None:
        self.address = address
        self.namespace = address.namespace
        self._token = token
        self._nacos = Nacos(address, timeout=timeout)
        self._present: dict[tuple[str, str, str], Presence] = {}
        self._catalogues: dict[str, RegistryClient] = {}
        self._looked = False
        self.prompts = NacosPromptSource(self._nacos)
        self.mcp = McpLibrary(NacosMcpServers(self._nacos))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connections; own instances are gone, watches end."""
        for client in self._catalogues.values():
            await client.aclose()
        await self._nacos.aclose()

    async def publish(self, card: AgentCard, *, instance: Instance | None = None) -> Entry:
        """See `RegistryClient.publish`. The instance lives for as long as this object, unless it is withdrawn."""
        checked = check_card(MessageToDict(card))
        nacos = self._open()
        if not self._looked and (missing := await self._missing()):
            log.warning(
                "%s: what is published there is found at this address, but Nacos's console does not show it",
                missing,
            )
        self._looked = True
        await nacos.agents.publish(self.namespace, checked)
        if instance is not None:
            present = Presence(
                nacos, Key(self.namespace, card.name, card.version), instance, checked.interfaces
            )
            await present.open()
            before = self._present.get((card.name, card.version, instance.id))
            self._present[(card.name, card.version, instance.id)] = present
            if before is not None:
                await before.close(replaced_by=present)
        return await self.get(card.name, card.version)

    async def heartbeat(self, name: str, version: str, instance_id: str) -> None:
        """See `RegistryClient.heartbeat`: whether Nacos shows the instance, which its own connection keeps alive."""
        present = self._present.get((name, version, instance_id))
        if present is None:
            raise UnknownInstance(
                f"the instance {instance_id} of {name} {version} was not published from here; publish it"
            )
        await present.check()

    async def withdraw(self, name: str, version: str, instance_id: str) -> None:
        """See `RegistryClient.withdraw`."""
        present = self._present.pop((name, version, instance_id), None)
        if present is not None:
            await present.close()

    async def get(self, name: str, version: str | None = None) -> Entry:
        """See `RegistryClient.get`."""
        held = await self._open().agents.get(self.namespace, name, version)
        if held is None:
            raise await self._unknown(name, version)
        return await self._entry(held)

    async def versions(self, name: str) -> list[Entry]:
        """See `RegistryClient.versions`."""
        found = await self._open().agents.all_versions(self.namespace, nacos_name(name))
        if not found:
            raise await self._unknown(name, None)
        entries = {one.version: await self._entry(one) for one in found}
        return [entries[version] for version in _in_order(list(entries))]

    async def set_latest(self, name: str, version: str) -> Entry:
        """See `RegistryClient.set_latest`."""
        if not await self._open().agents.set_latest(self.namespace, name, version):
            raise await self._unknown(name, version)
        return await self.get(name, version)

    async def delete(self, name: str, version: str | None = None) -> None:
        """See `RegistryClient.delete`."""
        if not await remove(self._open(), Agent(self.namespace, name), version):
            raise await self._unknown(name, version)

    async def rollout(self, name: str) -> Rollout:
        """See `RegistryClient.rollout`."""
        return await self._open().rollouts.get(Agent(self.namespace, name))

    async def set_rollout(self, rollout: Rollout, expected_revision: int) -> Rollout:
        """See `RegistryClient.set_rollout`."""
        found = await self._open().agents.all_versions(self.namespace, nacos_name(rollout.name))
        known = [one.version for one in found]
        return await self._nacos.rollouts.set(rollout, expected_revision, known)

    def watch_rollouts(self, name: str) -> AsyncGenerator[Rollout, None]:
        """See `RegistryClient.watch_rollouts`; Nacos pushes within 0.1 to 0.3 s."""
        return self._open().rollouts.watch(Agent(self.namespace, name))

    async def search(self, **criteria: Unpack[Criteria]) -> Page:
        """See `RegistryClient.search`. Raises RegistryUnavailable, too, when no catalogue has registered itself."""
        criteria.setdefault("namespace", self.namespace)
        urls = catalogue_urls(await self._open().naming.instances(catalogue_service(self.namespace)))
        failure: RegistryUnavailable | None = None
        for url in urls:
            try:
                return await self._catalogue(url).search(**criteria)
            except RegistryUnavailable as error:
                failure = error
        raise failure or await self._no_catalogue()

    async def watch(self, *, after: int | None = None) -> AsyncGenerator[Change, None]:
        """See `RegistryClient.watch`. When another catalogue has to be asked, whose numbers are others, that is a "reset".

        Raises RegistryUnavailable when no catalogue has registered itself at the start.
        """
        urls: asyncio.Queue[list[str]] = asyncio.Queue()

        def told(endpoints: tuple[Endpoint, ...]) -> None:
            urls.put_nowait(catalogue_urls(endpoints))

        nacos = self._open()
        now = catalogue_urls(await nacos.naming.instances(catalogue_service(self.namespace)))
        if not now:
            raise await self._no_catalogue()
        subscription = nacos.naming.subscribe(catalogue_service(self.namespace), told)
        try:
            while True:
                url = now[0]
                async with aclosing(self._catalogue(url).watch(after=after)) as changes:
                    coming = asyncio.ensure_future(anext(changes))
                    try:
                        while url in now:
                            turn = asyncio.ensure_future(urls.get())
                            try:
                                await asyncio.wait([coming, turn], return_when=asyncio.FIRST_COMPLETED)
                            finally:
                                turn.cancel()
                            if turn.done() and not turn.cancelled():
                                now = turn.result() or now  # a catalogue that is away may come back
                            if coming.done():
                                yield coming.result()
                                coming = asyncio.ensure_future(anext(changes))
                    finally:
                        coming.cancel()
                        await asyncio.wait([coming])
                after = None
                yield Change(0, "reset", "", "", "")
        finally:
            subscription.close()

    async def catalogue(self) -> RegistryClient:
        """A catalogue that is registered here, for as long as this object is open. Raises RegistryUnavailable."""
        endpoints = await self._open().naming.instances(catalogue_service(self.namespace))
        for url in catalogue_urls(endpoints):
            return self._catalogue(url)
        raise await self._no_catalogue()

    async def nearest(self) -> Registry:
        """A catalogue that is registered here and answers, for as long as this object is open; else this registry itself."""
        for url in catalogue_urls(await self._open().naming.instances(catalogue_service(self.namespace))):
            found = self._catalogue(url)
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await found.require()
            except (RegistryUnavailable, TimeoutError):
                continue
            return found
        return self

    def _open(self) -> Nacos:
        self._nacos.open()
        return self._nacos

    async def _entry(self, held: HeldVersion) -> Entry:
        service = service_of(self.namespace, held.card.checked.card.name, held.version)
        return entry_of(stored_of(self.namespace, held, await self._nacos.naming.instances(service)))

    def _catalogue(self, url: str) -> RegistryClient:
        if url not in self._catalogues:
            self._catalogues[url] = RegistryClient(url, namespace=self.namespace, token=self._token)
        return self._catalogues[url]

    async def _no_catalogue(self) -> RegistryUnavailable:
        missing = await self._missing()
        return RegistryUnavailable(
            f"{missing}, and no catalogue; correct the namespace in the address, or create it in Nacos"
            if missing
            else f"Nacos itself answers by name only: it needs a catalogue to list, to search and to tell of changes, and none has "
            f"registered itself at {self.address}; start one with `parley registry --nacos nacos://…`"
        )

    async def _missing(self) -> str:
        """What to say when Nacos knows of no such namespace, else "". It takes agents there all the same."""
        try:
            known = await self._open().agents.namespaces()
        except ParleyError:
            return ""  # that is for administrators of Nacos to ask
        if self.namespace in known:
            return ""
        return f"Nacos has no namespace with the id {self.namespace!r} (it has {', '.join(known[:10])})"

    async def _unknown(self, name: str, version: str | None) -> UnknownAgent:
        called = nacos_name(name)
        known = [one.version for one in await self._nacos.agents.all_versions(self.namespace, called)]
        if version is None or not known:
            return UnknownAgent(
                await self._missing()
                or f"there is no agent named {name!r} in the namespace {self.namespace!r} of Nacos"
            )
        return UnknownAgent(f"{name} has no version {version!r}; it has {', '.join(_in_order(known)[:10])}")


def _in_order(versions: list[str]) -> list[str]:
    """Highest first; what others call versions without SemVer comes last."""
    semantic = [one for one in versions if is_version(one)]
    return highest_first(semantic) + sorted(set(versions) - set(semantic), reverse=True)
