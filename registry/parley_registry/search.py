"""Search over the record: keeps the index in step with the change log, and joins its hits with the entries."""

import asyncio
import gc
import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from parley_core.errors import ParleyError
from parley_registry.entry import Agent, Key
from parley_registry.errors import RegistryBusy
from parley_registry.record import Record, Stored
from parley_registry.searching.document import document
from parley_registry.searching.embedder import EmbeddingsRefused
from parley_registry.searching.index import Found, Index
from parley_registry.searching.query import Query, read_cursor, write_cursor
from parley_registry.searching.reasons import reasons
from parley_registry.searching.semantic import BATCH, Semantic, text_of

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_BATCH = 500
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0
_PATIENCE = 10.0
"""Seconds that a search waits for the index of a large record to be built."""


@dataclass(frozen=True, slots=True)
class Result:
    """One page: entries with score and reasons, facets and number of all matches, the cursor of the next page or "", and
    what is to be said about the answer."""

    hits: tuple[tuple[Stored, float, list[str]], ...]
    facets: dict[str, dict[str, int]]
    total: int
    next: str
    notes: tuple[str, ...] = ()


class Search:
    """Finds entries of one record. Work on the index is done in a thread of its own, so the event loop stays free."""

    def __init__(
        self,
        record: Record,
        semantic: Semantic | None = None,
        judged: Callable[[Stored], Stored] = lambda entry: entry,
    ) -> None:
        """`judged` says what the signatures of an entry's card are worth."""
        self._record = record
        self._judged = judged
        self._semantic = semantic
        self._index = self._empty()
        self._seq = 0
        self._learning = asyncio.Event()
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

    @property
    def unlearnt(self) -> int:
        """Entries that search by meaning does not find yet."""
        return self._index.unlearnt

    @property
    def trouble(self) -> str:
        """Why search by meaning does without its embedder, or ""."""
        return self._semantic.trouble if self._semantic else ""

    async def build(self) -> None:
        """Index all there is. Takes 10 to 15 seconds for 100,000 entries; searches wait, or are told to come back."""
        async with self._catching_up:
            await self._rebuild()
        self._built.set()

    async def refresh(self) -> None:
        """Take in what changed until now."""
        wanted = await self._record.last_change()
        if self._seq >= wanted and self._index.settled:
            return
        async with self._catching_up:
            # Who waited may find that others have taken in what it needs: it does not wait for what is newer still.
            if self._seq >= wanted:
                await self._in_thread(self._index.settle)
            while self._seq < wanted:
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
        vector, notes = await self._meant(query)
        found = await self._in_thread(lambda: self._index.search(query, limit, after, vector))
        loaded = await self._record.load([key for key, _ in found.hits])
        entries = {entry.key: self._judged(entry) for entry in loaded}
        position = found.end
        return Result(
            hits=tuple(
                (entries[key], score, _reasons(query, entries[key], found))
                for key, score in found.hits
                if key in entries
            ),
            facets=found.facets,
            total=found.total,
            next=write_cursor(query, position) if position else "",
            notes=notes,
        )

    async def learn(self) -> None:
        """Give the entries their vectors as they come, until cancelled. Returns at once if there is no search by meaning."""
        if self._semantic is None:
            return
        pause = _FIRST_PAUSE
        while True:
            await self._learning.wait()
            try:
                await self._learn_some(self._semantic)
                pause = _FIRST_PAUSE
            except ParleyError as error:
                _logger.warning("search by meaning waits %.0f s for vectors: %s", pause, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)

    async def close(self) -> None:
        """Let go of the index and the embedder; `learn` must have ended."""
        await self._in_thread(self._index.close)
        self._thread.shutdown()
        if self._semantic:
            await self._semantic.aclose()

    async def _meant(self, query: Query) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
        if self._semantic is None or not query.semantic or not query.text.strip():
            return None, ()
        vector = await self._semantic.of_query(query.text)
        if vector is None:
            return None, ("searched by words alone: the embeddings cannot be had now",)
        missing = self._index.unlearnt
        return vector, (f"{missing} entries are found by words alone as yet",) if missing else ()

    async def _learn_some(self, semantic: Semantic) -> None:
        self._learning.clear()
        keys = await self._in_thread(lambda: self._index.without_vector(BATCH))
        if not keys:
            return
        self._learning.set()
        entries = {entry.key: entry for entry in await self._record.load(keys)}
        for key in keys:
            if key not in entries:
                self._index.leave(key)
        await self._learn_all(semantic, list(entries.values()))

    async def _learn_all(self, semantic: Semantic, entries: Sequence[Stored]) -> None:
        """Learn these entries; those whose text is refused are found by words alone."""
        try:
            vectors = await semantic.of_entries([text_of(orjson.loads(entry.card)) for entry in entries])
        except EmbeddingsRefused as error:
            if len(entries) == 1:
                _logger.warning("%s %s gets no vector: %s", entries[0].name, entries[0].version, error)
                self._index.leave(entries[0].key)
                return
            middle = len(entries) // 2
            await self._learn_all(semantic, entries[:middle])
            await self._learn_all(semantic, entries[middle:])
            return

        def note() -> None:
            for entry, vector in zip(entries, vectors, strict=True):
                self._index.learn(entry.key, _fingerprint(entry), vector)

        if entries:
            await self._in_thread(note)

    def _empty(self) -> Index:
        return Index(learns=True, floor=self._semantic.floor) if self._semantic else Index()

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
        fresh = self._empty()
        after: Key | None = None
        while page := await self._record.page(after, _BATCH):
            judged = [self._judged(entry) for entry in page]
            await self._in_thread(lambda judged=judged: _put_all(fresh, judged))  # type: ignore[misc]
            after = page[-1].key
            gc.freeze()  # the index lives as long as the process: collections need not walk it, now or later
        await self._in_thread(fresh.commit)
        await self._in_thread(lambda: fresh.settle(now=True))
        stale, self._index, self._seq = self._index, fresh, seq
        self._learning.set()
        await self._in_thread(stale.close)

    async def _take_in(self, keys: Sequence[Key], entries: Sequence[Stored]) -> None:
        gone = set(keys) - {entry.key for entry in entries}
        judged = [self._judged(entry) for entry in entries]

        def work() -> None:
            for key in gone:
                self._index.drop(key)
            _put_all(self._index, judged)
            self._index.commit()

        await self._in_thread(work)
        self._learning.set()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _put_all(index: Index, entries: Sequence[Stored]) -> None:
    for entry in entries:
        fingerprint = _fingerprint(entry)
        if not index.holds(entry.key, fingerprint):
            index.put(entry.key, fingerprint, document(entry.namespace, orjson.loads(entry.card)))
        index.set_state(entry.key, latest=entry.latest, values=_states(entry))
    index.settle()


def _states(entry: Stored) -> dict[str, str]:
    return {
        "health": entry.health,
        "owner": entry.owner,
        "signature": entry.signature.state,
        "external": "true" if entry.source else "false",
    }


def _fingerprint(entry: Stored) -> bytes:
    return hashlib.blake2b(entry.card, digest_size=16).digest()


def _reasons(query: Query, entry: Stored, found: Found) -> list[str]:
    card, similarity = orjson.loads(entry.card), found.similar.get(entry.key)
    return reasons(query, card, latest=entry.latest, words=found.words, similarity=similarity)
