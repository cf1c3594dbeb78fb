"""A kind of objects kept in memory as they are in the API server, by a list and then a watch."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from parley_operator.kube.backoff import Backoff
from parley_operator.kube.client import Kube
from parley_operator.kube.errors import ApiError, ApiUnavailable, Gone
from parley_operator.kube.kinds import Kind
from parley_operator.metrics import CACHED, WATCHES

_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """Which object of a kind."""

    namespace: str
    name: str


class _Held(NamedTuple):
    version: str
    body: bytes
    """As JSON text: a tenth of the memory of the dictionaries, and nobody changes what is cached by mistake."""
    marks: tuple[str, ...]


Changed = Callable[[Key, Mapping[str, Any]], None]
"""Told of each object that is new, changed or (as it was last) gone."""


@dataclass(slots=True)
class _Writing:
    """Writes of ours to one object that are under way."""

    count: int = 0
    ours: set[str] = field(default_factory=set)
    """Versions that they were answered with …"""
    seen: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """… and those that were heard of meanwhile, with the object as it then was."""


class _Feed:
    """One list and watch: of a namespace, or (None) of all."""

    def __init__(self, namespace: str | None) -> None:
        self.namespace = namespace
        self.version = ""
        """Up to where it has been told of everything; "": to be listed."""
        self.synced = asyncio.Event()


class Informer:
    """The objects of one kind, of some namespaces or all, with certain labels or all.

    `index` names what an object may be found by; `keep` takes out of it what nobody here needs. What is held may be a
    little old: who writes by it names the resourceVersion.
    """

    def __init__(
        self,
        kube: Kube,
        kind: Kind,
        namespaces: Sequence[str] = (),
        *,
        labels: str = "",
        index: Callable[[Mapping[str, Any]], Iterable[str]] = lambda _: (),
        keep: Callable[[dict[str, Any]], dict[str, Any]] = lambda obj: obj,
    ) -> None:
        self.kind = kind
        self._kube = kube
        self._feeds: dict[str | None, _Feed] = {one: _Feed(one) for one in namespaces or (None,)}
        self._labels = labels
        self._index = index
        self._keep = keep
        self._held: dict[Key, _Held] = {}
        self._found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._tell: list[Changed] = []
        self._writing: dict[Key, _Writing] = {}

    @property
    def synced(self) -> bool:
        """Whether all there were at the start are held."""
        return all(feed.synced.is_set() for feed in self._feeds.values())

    async def wait(self) -> None:
        """Come back when `synced`."""
        for feed in self._feeds.values():
            await feed.synced.wait()

    def on_change(self, tell: Changed) -> None:
        """Have it told of every change from now on; it may not wait."""
        self._tell.append(tell)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Key) -> dict[str, Any] | None:
        """The object, the caller's own to change."""
        held = self._held.get(key)
        return orjson.loads(held.body) if held else None

    def version(self, key: Key) -> str:
        """Its resourceVersion; "" when it is not there."""
        held = self._held.get(key)
        return held.version if held else ""

    def __iter__(self) -> Iterator[Key]:
        """All there are now."""
        return iter(list(self._held))

    def find(self, namespace: str, mark: str) -> list[dict[str, Any]]:
        """The objects of a namespace that `index` has under that, by name."""
        names = sorted(self._found.get((namespace, mark), ()))
        return [orjson.loads(self._held[Key(namespace, name)].body) for name in names]

    def has(self, namespace: str, mark: str) -> bool:
        """Whether there is any."""
        return bool(self._found.get((namespace, mark)))

    def wrote(self, obj: dict[str, Any]) -> None:
        """Take what the API server answered to a write of ours, so that who looks before the watch brings it does not
        see the past. Left alone when the watch has been told of newer things: what is not held then has gone since."""
        key, version = _key(obj), obj["metadata"]["resourceVersion"]
        if key in self._writing:
            self._writing[key].ours.add(version)
        held = self._held.get(key)
        feed = self._feeds.get(None) or self._feeds[key.namespace]
        if _newer(version, held.version if held else feed.version):
            self._put(key, obj)

    @contextmanager
    def writing(self, key: Key) -> Iterator[None]:
        """While a write of ours is under way, which is to end in `wrote`: the watch is often faster than the answer, and what
        we have written ourselves is no news. What others have changed meanwhile is told at the end."""
        under_way = self._writing.setdefault(key, _Writing())
        under_way.count += 1
        try:
            yield
        finally:
            under_way.count -= 1
            if not under_way.count:
                del self._writing[key]
                news = [obj for version, obj in under_way.seen.items() if version not in under_way.ours]
                if news:
                    self._changed(key, news[-1])

    async def run(self) -> None:
        """Keep up until cancelled. What goes wrong is logged, and tried again after a pause."""
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds.values():
                group.create_task(self._follow(feed))

    async def _follow(self, feed: _Feed) -> None:
        backoff = Backoff(0.2, 15.0)
        why = "start"
        while True:
            try:
                if not feed.version:
                    WATCHES.labels(self.kind.name, why).inc()
                    await self._list(feed)
                    feed.synced.set()
                if await self._watch(feed):
                    backoff.reset()  # and go on from where it was: the server ends every watch after some minutes
                else:
                    await asyncio.sleep(backoff.next())
            except Gone:
                feed.version, why = "", "expired"
                await asyncio.sleep(backoff.next())
            except (ApiUnavailable, ApiError) as error:
                pause = backoff.next()
                _log.warning("%s: %s; again in %.1f s", self.kind.plural, error, pause)
                await asyncio.sleep(pause)

    async def _list(self, feed: _Feed) -> None:
        seen: set[Key] = set()
        after = ""
        while True:
            page, after, version = await self._kube.page(
                self.kind, feed.namespace, labels=self._labels, after=after
            )
            for obj in page:
                # The members of a list do not say what they are.
                obj["apiVersion"], obj["kind"] = self.kind.api, self.kind.name
                key = _key(obj)
                seen.add(key)
                # Other than in a watch, an older version counts too: the server may have been set back.
                if self.version(key) != obj["metadata"]["resourceVersion"] and self._put(key, obj):
                    self._changed(key, obj)
            if not after:
                break
        for key in self._held.keys() - seen:
            if feed.namespace in (None, key.namespace):
                self._drop(key)
        feed.version = version

    async def _watch(self, feed: _Feed) -> bool:
        """Whether anything came before it ended."""
        came = False
        changes = self._kube.watch(self.kind, feed.namespace, feed.version, labels=self._labels)
        async with aclosing(changes):
            async for what, obj in changes:
                came, version = True, obj["metadata"]["resourceVersion"]
                if what != "BOOKMARK":
                    key = _key(obj)
                    # What is not newer was a write of ours, and is held already; or it was deleted and made again by us.
                    if _newer(version, self.version(key)):
                        if what == "DELETED":
                            self._drop(key)
                        elif self._put(key, obj):
                            self._changed(key, obj)
                feed.version = version
        return came

    def _put(self, key: Key, obj: dict[str, Any]) -> bool:
        """Whether anything of it changed that is kept."""
        version = obj["metadata"]["resourceVersion"]
        kept = self._keep(obj)
        kept["metadata"].pop("managedFields", None)
        marks = tuple(self._index(kept))
        before = self._held.get(key)
        if before is None or before.marks != marks:
            self._unmark(key)
            for mark in marks:
                self._found[key.namespace, mark].add(key.name)
        body = orjson.dumps(kept)
        self._held[key] = _Held(version, body, marks)
        CACHED.labels(self.kind.name).set(len(self._held))
        return before is None or before.body != body

    def _drop(self, key: Key) -> None:
        obj = self.get(key)
        if obj is None:
            return
        self._unmark(key)
        del self._held[key]
        CACHED.labels(self.kind.name).set(len(self._held))
        self._changed(key, obj, gone=True)

    def _unmark(self, key: Key) -> None:
        before = self._held.get(key)
        for mark in before.marks if before else ():
            names = self._found[key.namespace, mark]
            names.discard(key.name)
            if not names:
                del self._found[key.namespace, mark]

    def _changed(self, key: Key, obj: Mapping[str, Any], *, gone: bool = False) -> None:
        if key in self._writing:
            # What is gone bears the version that it had last, which may be of ours.
            self._writing[key].seen["" if gone else obj["metadata"]["resourceVersion"]] = obj
            return
        for tell in self._tell:
            tell(key, obj)


def _key(obj: Mapping[str, Any]) -> Key:
    return Key(obj["metadata"]["namespace"], obj["metadata"]["name"])


def _newer(one: str, other: str) -> bool:
    """Resource versions are numbers that grow, as Kubernetes promises since 1.35; "" is older than all."""
    return int(one) > int(other or "0")
