"""The catalogue: what the service does, apart from HTTP. Composes the record, search, the feed and external agents."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from parley_core.errors import ParleyError
from parley_core.hostguard import is_loopback
from parley_registry.backends.nacos import NacosRecord
from parley_registry.backends.sql import SqlRecord
from parley_registry.card import check_card
from parley_registry.entry import PUBLIC, Agent, Instance, Key
from parley_registry.errors import NameDiffers, UnknownAgent, UnknownInstance
from parley_registry.external import External
from parley_registry.feed import Feed
from parley_registry.nacos.address import NacosAddress
from parley_registry.record import Freshness, Published, Stored
from parley_registry.rights import Rights
from parley_registry.rollout import Rollout
from parley_registry.rooms import Rooms
from parley_registry.search import Result, Search
from parley_registry.searching.query import Query
from parley_registry.searching.semantic import open_semantic
from parley_registry.settings import LOOPBACK, RegistrySettings
from parley_registry.trust import Trust
from parley_registry.versions import highest_first
from parley_registry.warden import Warden

T = TypeVar("T")

_logger = logging.getLogger(__name__)


def open_record(settings: RegistrySettings) -> SqlRecord | NacosRecord:
    """The record that the settings name, not opened yet. Raises ConfigurationError."""
    if not settings.nacos:
        return SqlRecord(settings.store)
    return NacosRecord(
        NacosAddress.parse(settings.nacos.get_secret_value()),
        settings.store,
        stale_after=settings.stale_after,
        public_url=settings.public_url or _own_url(settings.listen),
    )


def _own_url(listen: str) -> str:
    """Where this registry is found when nothing else is said; "" when it listens everywhere, which is no address."""
    host = listen.rpartition(":")[0].strip("[]")
    return "" if host in ("", "0.0.0.0", "::") else f"http://{listen}"


class Catalogue:
    """All operations of one service process. Run `run` beside them: it keeps health, index and watchers up to date."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._record = open_record(settings)
        self.feed = Feed(self._record, most=settings.max_watchers)
        nacos = self._record.nacos if isinstance(self._record, NacosRecord) else None
        rights = Rights(settings.grants, settings.reserved_names, settings.auth_rights_claim)
        self.warden = Warden(self._record, rights)
        self._rooms = Rooms(self._record.database, self.warden, nacos, changed=self.feed.poke)
        self.prompts, self.mcp = self._rooms.prompts, self._rooms.mcp
        allow = settings.allow + (LOOPBACK if is_loopback(settings.listen) else ())
        self._trust = Trust(settings.trusted_keys, allow=allow, required=settings.require_signature)
        self.search = Search(self._record, open_semantic(settings), self._trust.judged)
        self._external = External(
            self._record, allow=allow, every=settings.look_every, admit=self._trust.admit
        )

    async def open(self) -> None:
        """Open the record. Raises ConfigurationError."""
        await self._record.open()
        await self._trust.open()

    async def close(self) -> None:
        """Let go of everything; `run` must have ended."""
        await self._external.close()
        await self._trust.close()
        await self.search.close()
        await self._record.close()

    async def run(self) -> None:
        """Build the index, then follow changes, expire instances and look at external agents, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.feed.run())
            tasks.create_task(self._rooms.run())
            tasks.create_task(self._follow())
            tasks.create_task(self.search.learn())
            tasks.create_task(self._every(1.0, self._expire, first=self._settings.ttl))
            tasks.create_task(self._every(1.0, self._external.look, first=1.0))
            tasks.create_task(self._trust.run(self._keys_changed))
            tasks.create_task(self._every(3600.0, self._forget_audited, first=60.0))

    async def freshness(self) -> Freshness:
        """How fresh what is served is."""
        return await self._record.freshness()

    @property
    def faulty(self) -> int:
        """Versions that others put into Nacos and that are shown although their cards break rules."""
        return self._record.faulty if isinstance(self._record, NacosRecord) else 0

    async def ready(self) -> str:
        """What this process still waits for, or "" when it can serve. Raises Unavailable."""
        await self._record.ping()
        if not math.isfinite((await self._record.freshness()).age):
            return "what Nacos holds is being read for the first time"
        return "" if self.search.ready else "the search index is being built"

    # -- entries
    async def publish(self, namespace: str, card: Any, instance: Instance | None) -> Published:
        """See `RegistryClient.publish`."""
        checked = check_card(card)
        key = Key(namespace, checked.card.name, checked.card.version)
        async with self.warden.change("publish", key.agent, key.version) as actor:
            await self.warden.require_free(key.agent, actor)
            await self._trust.admit(checked.card)
            done = await self._record.publish(
                checked, namespace=namespace, instance=instance, source="", actor=actor
            )
        return self._told(Published(self._trust.judged(done.entry), done.created))

    async def register_url(self, namespace: str, url: str, name: str = "") -> Published:
        """See `RegistryClient.register_url`."""
        source, checked = await self._external.fetch(url)
        key = Key(namespace, checked.card.name, checked.card.version)
        if name and key.name != name:
            raise NameDiffers(f"the card at {source} is of an agent called {key.name}, not {name}")
        async with self.warden.change("publish", key.agent, key.version) as actor:
            if name:
                # It was said whose place is meant: an admin's right to take over others' is not.
                actor = replace(actor, admin=False)
            await self.warden.require_free(key.agent, actor)
            await self._trust.admit(checked.card)
            done = await self._record.publish(
                checked, namespace=namespace, instance=None, source=source, actor=actor
            )
        return self._told(Published(self._trust.judged(done.entry), done.created))

    async def get(self, agent: Agent, version: str | None) -> Stored:
        """See `RegistryClient.get`."""
        if version is None:
            latest = await self._record.latest(agent)
            if latest:
                return self._trust.judged(latest)
        else:
            for entry in await self._record.load([Key(*agent, version)]):
                return self._trust.judged(entry)
        raise await self._unknown(agent, version)

    async def versions(self, agent: Agent) -> list[Stored]:
        """See `RegistryClient.versions`."""
        found = {entry.version: entry for entry in await self._record.versions(agent)}
        if not found:
            raise await self._unknown(agent, None)
        return [self._trust.judged(found[version]) for version in highest_first(found)]

    async def set_latest(self, key: Key) -> Stored:
        """See `RegistryClient.set_latest`."""
        async with self.warden.change("latest", key.agent, key.version) as actor:
            entry = await self._record.set_latest(key, actor=actor)
        if entry is None:
            raise await self._unknown(key.agent, key.version)
        return self._told(self._trust.judged(entry))

    async def delete(self, agent: Agent, version: str | None) -> None:
        """See `RegistryClient.delete`."""
        async with self.warden.change("delete", agent, version or "") as actor:
            done = await self._record.delete(agent, version, actor=actor)
        if not self._told(done):
            raise await self._unknown(agent, version)

    async def transfer(self, agent: Agent, owner: str) -> None:
        """See `RegistryClient.transfer`."""
        if await self._record.latest(agent) is None:
            raise await self._unknown(agent, None)
        await self.warden.transfer(agent, owner)

    async def find(self, query: Query, limit: int, cursor: str) -> Result:
        """See `RegistryClient.search`."""
        return await self.search.find(query, limit, cursor)

    async def last_change(self) -> int:
        """The number of the newest change: what was read before is as it was until this grows."""
        return await self._record.last_change()

    # -- rollouts
    async def rollout(self, agent: Agent) -> Rollout:
        """See `RegistryClient.rollout`."""
        return await self._record.rollout(agent)

    async def set_rollout(self, rollout: Rollout, expected_revision: int) -> Rollout:
        """See `RegistryClient.set_rollout`."""
        async with self.warden.change("rollout", rollout.agent) as actor:
            kept = await self._record.set_rollout(rollout, expected_revision, actor=actor)
        return self._told(kept)

    # -- health
    async def heartbeat(self, key: Key, instance_id: str) -> None:
        """See `RegistryClient.heartbeat`."""
        await self.warden.require_owner(key.agent)
        if not await self._record.heartbeat(key, instance_id):
            raise UnknownInstance(
                f"{key.name} {key.version} has no instance {instance_id!r} (any more); publish the card again with it"
            )

    async def withdraw(self, key: Key, instance_id: str) -> None:
        """See `RegistryClient.withdraw`."""
        await self.warden.require_owner(key.agent)
        await self._record.withdraw(key, instance_id)
        self.feed.poke()

    # -- in the background
    async def _follow(self) -> None:
        await self.search.build()
        _logger.info("%d entries are served", self.search.size)
        while True:
            await self.feed.next_news()
            try:
                await self.search.refresh()
            except ParleyError as error:
                _logger.warning("the search index lags behind: %s", error)

    async def _keys_changed(self, kids: frozenset[str]) -> None:
        """Tell all who watch of the entries whose signatures may be worth something else now."""
        concerned: list[Key] = []
        last: Key | None = None
        try:
            while page := await self._record.page(last, 500):
                concerned += [entry.key for entry in page if self._trust.concerned(entry, kids)]
                last = page[-1].key
            if concerned:
                await self._record.retell(concerned)
                self.feed.poke()
        except ParleyError as error:
            _logger.warning("watchers were not told of changed keys: %s", error)

    async def _forget_audited(self) -> int:
        return await self._record.forget_audited(self._settings.audit_keep * 86400)

    async def _expire(self) -> int:
        down = await self._record.expire(self._settings.ttl)
        if down:
            self.feed.poke()
        return down

    async def _every(self, seconds: float, work: Callable[[], Awaitable[int]], *, first: float) -> None:
        await asyncio.sleep(first)
        while True:
            try:
                await work()
            except ParleyError as error:
                _logger.warning("will try again: %s", error)
            await asyncio.sleep(seconds)

    def _told(self, answer: T) -> T:
        self.feed.poke()
        return answer

    async def _unknown(self, agent: Agent, version: str | None) -> UnknownAgent:
        known = highest_first(entry.version for entry in await self._record.versions(agent))
        if version is None or not known:
            where = "here" if agent.namespace == PUBLIC else f"in the namespace {agent.namespace!r}"
            return UnknownAgent(
                f"there is no agent named {agent.name!r} {where}; `search` lists those there are"
            )
        return UnknownAgent(f"{agent.name} has no version {version!r}; it has {', '.join(known[:10])}")
