"""Search over the record: keeps the index in step with the change log, and joins its hits with the entries."""

import asyncio
import gc
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import orjson

from parley_registry.entry import Agent, Key
from parley_registry.errors import RegistryBusy
from parley_registry.record import Record, Stored
from parley_registry.searching.document import document
from parley_registry.searching.index import Found, Index
from parley_registry.searching.query import Position, Query, read_cursor, write_cursor
from parley_registry.searching.reasons import reasons

T = TypeVar("T")

_BATCH = 500
_PATIENCE = 10.0
"""Seconds that a search waits for the index of a large record to be built."""


@dataclass(frozen=True, slots=True)
class Result:
    """One page: entries with score and reasons, facets and number of all matches, the cursor of the next page or ""."""

    hits: tuple[tuple[Stored, float, list[str]], ...]
    facets: dict[str, dict[str, int]]
    total: int
    next: str


class Search:
    """Finds entries of one record. Work on the index is done in a thread of its own, so the event loop stays free."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._index = Index()
        self._seq = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="registry-search")
        self._catching_up = asyncio.Lock()
        self._built = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the index holds all that the record held when it was built."""
        return self._built.is_set()

    @property
    def size(self) -> int:
        """Entries in the index."""
        return len(self._index)

    async def build(self) -> None:
        """Index all there is. Takes about 20 seconds for 100,000 entries; searches wait, or are told to come back."""
        async with self._catching_up:
            await self._rebuild()
        gc.freeze()  # the index lives as long as the process: full collections need not walk it
        self._built.set()

    async def refresh(self) -> None:
        """Take in what changed since."""
        if self._seq == await self._record.last_change():
            return
        async with self._catching_up:
            while True:
                news = await self._record.changes(self._seq, _BATCH)
                if news.missed:
                    await self._rebuild()
                    return
                if not news.changes:
                    self._seq = news.last
                    return
                keys = list(dict.fromkeys(Key(one.namespace, one.name, one.version) for one in news.changes))
                touched = {Agent(one.namespace, one.name) for one in news.changes if one.kind == "latest"}
                for agent in touched:
                    keys += [entry.key for entry in await self._record.versions(agent)]
                await self._take_in(keys, await self._record.load(keys))
                self._seq = news.changes[-1].seq

    async def find(self, query: Query, limit: int, cursor: str) -> Result:
        """The page of a search. Everything that was committed to the record before the call is taken into account.

        Raises BadRequest for a bad cursor, RegistryBusy while a large index is being built.
        """
        after = read_cursor(query, cursor)
        await self._wait_built()
        await self.refresh()
        found, entries = await self._find(query, limit, after)
        position = found.end
        return Result(
            hits=tuple(
                (entries[key], score, self._reasons(query, entries[key], found))
                for key, score in found.hits
                if key in entries
            ),
            facets=found.facets,
            total=found.total,
            next=write_cursor(query, position) if position else "",
        )

    async def close(self) -> None:
        """Let go of the index."""
        await self._in_thread(self._index.close)
        self._thread.shutdown()

    async def _find(
        self, query: Query, limit: int, after: Position | None
    ) -> tuple[Found, dict[Key, Stored]]:
        found = await self._in_thread(lambda: self._index.search(query, limit, after))
        entries = await self._record.load([key for key, _ in found.hits])
        return found, {entry.key: entry for entry in entries}

    def _reasons(self, query: Query, entry: Stored, found: Found) -> list[str]:
        card = orjson.loads(entry.card)
        return reasons(query, card, latest=entry.latest, words=found.words, similarity=None)

    async def _wait_built(self) -> None:
        if not self._built.is_set():
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._built.wait()
            except TimeoutError:
                raise RegistryBusy(
                    "the search index is still being built; try again in a few seconds"
                ) from None

    async def _rebuild(self) -> None:
        seq = await self._record.last_change()
        fresh = Index()
        after: Key | None = None
        while page := await self._record.page(after, _BATCH):
            await self._in_thread(lambda page=page: _put_all(fresh, page))  # type: ignore[misc]
            after = page[-1].key
        await self._in_thread(fresh.commit)
        stale, self._index, self._seq = self._index, fresh, seq
        await self._in_thread(stale.close)

    async def _take_in(self, keys: Sequence[Key], entries: Sequence[Stored]) -> None:
        gone = set(keys) - {entry.key for entry in entries}

        def work() -> None:
            for key in gone:
                self._index.drop(key)
            _put_all(self._index, entries)
            self._index.commit()

        await self._in_thread(work)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _put_all(index: Index, entries: Sequence[Stored]) -> None:
    for entry in entries:
        fingerprint = hashlib.blake2b(entry.card, digest_size=16).digest()
        if not index.holds(entry.key, fingerprint):
            index.put(entry.key, fingerprint, document(entry.namespace, orjson.loads(entry.card)))
        index.set_state(entry.key, latest=entry.latest, values=_states(entry))


def _states(entry: Stored) -> dict[str, str]:
    return {"health": entry.health, "external": "true" if entry.source else "false"}
