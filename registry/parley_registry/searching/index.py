"""The index that search runs on: bitmaps decide what matches and count facets, tantivy ranks by BM25.

It is derived from the record and kept in memory, so it serves any backend of the record and costs no disk;
`Search` keeps it in step. For one thread at a time.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from sys import intern

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from parley_registry.entry import Key
from parley_registry.searching.document import FACETS, INTERFACE, OPEN, Document
from parley_registry.searching.facets import Values
from parley_registry.searching.fusion import DEEP
from parley_registry.searching.order import Order
from parley_registry.searching.postings import Postings
from parley_registry.searching.query import Position, Query
from parley_registry.searching.ranker import Ranker, Wanted
from parley_registry.searching.ranking import Match, Ranking
from parley_registry.searching.reading import Read, read
from parley_registry.searching.vectors import NearestVectors
from parley_registry.searching.vocabulary import Vocabulary

STATES = ("health", "owner", "signature", "external")
"""Facets whose values change while the card does not."""

_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Found:
    """One page of keys with their scores; where it ends, if there is more; facets over all `total` matches; how the words
    of the text were read; and which hits are near in meaning, with how near."""

    hits: tuple[tuple[Key, float], ...]
    end: Position | None
    facets: dict[str, dict[str, int]]
    total: int
    words: tuple[Read, ...]
    similar: Mapping[Key, float]


class Index:
    """Cards by their words and values. Latest versions come before older ones, what fits a text as typed before what fits
    it otherwise, the better ranked before the worse; without words to rank by, hits come by name, namespace and version."""

    def __init__(self, *, learns: bool = False, floor: float = 0.0) -> None:
        """With `learns`, entries wait for vectors (see `without_vector`), of which those below `floor` are not similar."""
        self._learns, self._floor = learns, floor
        self._unlearnt: dict[Key, None] = {}
        self._vectors: NearestVectors | None = None
        self._ranker = Ranker()
        self._vocabulary = Vocabulary()
        self._postings = Postings()
        self._values = Values((*FACETS, INTERFACE))
        self._free: list[int] = []
        self._freed: list[int] = []
        self._ids: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._ranking = Ranking(self._ranker, self._keys)
        self._digests: dict[int, bytes] = {}
        self._order = Order()
        self._alive = BitMap()
        self._latest = BitMap()
        self._listed_of: dict[int, array[int]] = {}
        self._others_of: dict[int, array[int]] = {}
        self._states_of: dict[int, tuple[int, ...]] = {}
        self._states: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._matched: dict[tuple[Query, bool], Match] = {}

    def __len__(self) -> int:
        return len(self._ids)

    # -- keeping
    def holds(self, key: Key, digest: bytes) -> bool:
        """Whether the card of an entry is indexed already as it is."""
        return key in self._ids and self._digests[self._ids[key]] == digest

    def put(self, key: Key, digest: bytes, document: Document) -> None:
        """Index the card of an entry, in place of what was indexed for it. Seen by searches after `commit`."""
        self.drop(key)
        number = self._free.pop() if self._free else len(self._ids) + len(self._freed)
        key = Key(intern(key.namespace), key.name, intern(key.version))
        self._ids[key], self._keys[number], self._digests[number] = number, key, digest
        self._order.put(key, number)
        self._alive.add(number)
        words = [self._vocabulary.words(text) for text in (document.name, document.skills, document.about)]
        self._postings.put(number, set().union(*words))
        listed, others = array("I"), array("I")
        for facet, value in document.values:
            (listed if facet in OPEN else others).append(self._values.add(facet, value, number))
        self._listed_of[number], self._others_of[number] = listed, others
        self._ranker.put(number, words, (*listed, *others))
        if self._learns:
            self._unlearnt[key] = None

    def set_state(self, key: Key, *, latest: bool, values: Mapping[str, str]) -> None:
        """Note what changes about an entry while its card does not: its values of the facets in `STATES`."""
        number = self._ids[key]
        (self._latest.add if latest else self._latest.discard)(number)
        before = self._states_of.get(number, ())
        now = tuple(self._values.add(facet, value, number) for facet, value in values.items() if value)
        for value in set(before).difference(now):
            self._values.discard(value, number)
        self._states_of[number] = self._states.setdefault(now, now)
        self._matched.clear()

    def drop(self, key: Key) -> None:
        """Forget an entry, if it is known."""
        number = self._ids.pop(key, None)
        if number is None:
            return
        del self._keys[number], self._digests[number]
        self._order.drop(key)
        self._alive.discard(number)
        self._latest.discard(number)
        self._postings.drop(number)
        states = self._states_of.pop(number, ())
        for value in (*self._listed_of.pop(number), *self._others_of.pop(number), *states):
            self._values.discard(value, number)
        self._ranker.drop(number)
        self._unlearnt.pop(key, None)
        if self._vectors:
            self._vectors.drop(number)
        self._freed.append(number)

    @property
    def settled(self) -> bool:
        """Whether the order of hits is final: that of a change may be an estimate for a second."""
        return self._ranker.settled

    def commit(self) -> None:
        """Show what was put and dropped to searches."""
        self._matched.clear()
        self._values.sort()
        self._order.settle()
        self._vocabulary.settle(self._postings.__contains__)
        self.settle()

    def settle(self, *, now: bool = False) -> None:
        """Make the order of hits final, `now` or if it has been an estimate for long enough."""
        if self._ranker.settle(now=now):
            self._free += self._freed
            self._freed = []

    def close(self) -> None:
        """Let go of the ranker's threads."""
        self._ranker.close()

    # -- vectors
    @property
    def unlearnt(self) -> int:
        """Entries that wait for their vectors."""
        return len(self._unlearnt)

    def without_vector(self, count: int) -> list[Key]:
        """Up to `count` entries that wait for their vectors."""
        return list(islice(self._unlearnt, count))

    def learn(self, key: Key, digest: bytes, vector: NDArray[np.float32]) -> None:
        """Set the vector of an entry's card, unless that is another one by now. Raises ValueError for one of another length."""
        if not self.holds(key, digest):
            return
        if self._vectors is None:
            self._vectors = NearestVectors(len(vector))
        self._vectors.put(self._ids[key], vector)
        self._unlearnt.pop(key, None)
        self._matched.clear()

    def leave(self, key: Key) -> None:
        """Wait no more for the vector of an entry."""
        self._unlearnt.pop(key, None)

    # -- searching
    def search(
        self, query: Query, limit: int, after: Position | None, vector: NDArray[np.float32] | None = None
    ) -> Found:
        """The page of up to `limit` hits after a position; with the `vector` of the text, by its meaning too."""
        match = self._match(query, vector)
        hits: list[Position] = []
        for tier, within in enumerate(match.tiers):
            start = after if after and after.tier == tier else None
            if within and tier >= (after.tier if after else 0) and len(hits) <= limit:
                page = self._ranking.page if match.wanted or match.near else self._named
                hits += page(match, within, tier, limit - len(hits) + 1, start)
        more = len(hits) > limit
        return Found(
            hits=tuple((hit.key, hit.score) for hit in hits[:limit]),
            end=hits[limit - 1] if more else None,
            facets=match.facets,
            total=len(match.documents),
            words=match.words,
            similar={
                hit.key: match.near[self._ids[hit.key]] for hit in hits if self._ids[hit.key] in match.near
            },
        )

    def _match(self, query: Query, vector: NDArray[np.float32] | None) -> Match:
        known = (query, vector is not None)
        match = self._matched.get(known)
        if match is None:
            if len(self._matched) >= _REMEMBERED:
                self._matched.clear()
            match = self._matched[known] = self._matching(query, vector)
        return match

    def _matching(self, query: Query, vector: NDArray[np.float32] | None) -> Match:
        ranked = self._alive
        among: list[BitMap] = [self._latest] if query.latest else []
        criteria: list[list[int]] = []
        for facet, accepted in query.criteria():
            numbers = [self._values.number(facet, value) for value in accepted]
            known = [number for number in numbers if number is not None]
            having = BitMap.union(BitMap(), *(self._values.having(number) for number in known))
            if facet in STATES:
                among.append(having)
            else:
                ranked = ranked & having
                criteria.append(known)
        documents = plain = worded = reduce(BitMap.intersection, among, ranked)
        words: tuple[Read, ...] = ()
        wanted, reach = None, 0
        near: dict[int, float] = {}
        if query.text.strip():
            reading = read(query.text, documents, ranked, self._vocabulary, self._postings)
            if vector is not None and self._vectors and reading.words:
                near = dict(self._vectors.near(vector, documents, DEEP, self._floor))
            words, plain, worded, reach = reading.words, reading.plain, reading.matches, reading.reach
            documents = worded | BitMap(near)
            wanted = Wanted([one.alternatives for one in words if one.alternatives], reading.whole, criteria)
        first = documents if near else plain
        rest = documents - first
        tiers = (first & self._latest, rest & self._latest, first - self._latest, rest - self._latest)
        facets = self._values.count(documents, FACETS, OPEN, self._listed_of)
        return Match(documents, tiers, plain, worded, near, words, wanted, reach, facets)

    def _named(
        self, match: Match, within: BitMap, tier: int, limit: int, after: Position | None
    ) -> list[Position]:
        """Hits by name."""
        found = self._order.page(within, limit, after.key if after else None, self._keys.__getitem__)
        rank = after.rank if after else 0
        return [Position(tier, rank + i + 1, 1.0, key) for i, key in enumerate(found)]
