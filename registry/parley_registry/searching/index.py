"""The index that search runs on: bitmaps decide what matches and count facets, tantivy ranks by BM25.

It is derived from the record and kept in memory, so it serves any backend of the record and costs no disk;
`Follower` (in `search`) keeps it in step. For one thread at a time.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyroaring import BitMap

from parley_registry.entry import Key
from parley_registry.searching.document import FACETS, INTERFACE, OPEN, Document, media_type
from parley_registry.searching.facets import Values
from parley_registry.searching.query import Position, Query
from parley_registry.searching.ranker import Criterion, Ranker

MAX_RANKED = 5000
"""Ranked hits that one search by text can be paged through."""

_MAX_WORDS = 8
_EXPANSIONS = 6
"""Words that the last word, if it is the beginning of others, stands for besides itself: the most frequent ones."""
_FEW = 512
"""Matches up to which ranking them alone is cheaper than ranking all that have the words."""
_STRETCH = 2048


@dataclass(frozen=True, slots=True)
class Found:
    """One page of keys with their scores; where it ends, if there is more; facets over all `total` matches; and
    the words that the text was taken for."""

    hits: tuple[tuple[Key, float], ...]
    end: Position | None
    facets: dict[str, dict[str, int]]
    total: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Match:
    """The documents a query matches, how many do whatever their health, what each word stands for, the values of
    which one must be had for each of the other criteria, and the facets."""

    documents: BitMap
    having: int
    words: Sequence[Sequence[str]]
    criteria: Sequence[Criterion]
    facets: dict[str, dict[str, int]]


class Index:
    """Cards by their words and values. Latest versions come before older ones, the better ranked before the worse;
    without words to rank by, hits come by name and version."""

    def __init__(self) -> None:
        self._ranker = Ranker()
        self._last_id = 0
        self._ids: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._digests: dict[Key, str] = {}
        self._order: list[tuple[str, str, str, str]] = []
        self._order_ids = array("I")
        self._alive = BitMap()
        self._latest = BitMap()
        self._words: dict[str, BitMap] = {}
        self._vocabulary: list[str] = []
        self._words_of: dict[int, tuple[str, ...]] = {}
        self._values = Values((*FACETS, INTERFACE))
        self._listed_of: dict[int, array[int]] = {}
        self._others_of: dict[int, array[int]] = {}
        self._health_of: dict[int, int] = {}
        self._matched: dict[Query, _Match] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def analyze(self, text: str) -> list[str]:
        """The words of a text as they are indexed: lower case, without accents, stemmed."""
        return self._ranker.analyze(text)

    # -- keeping
    def holds(self, key: Key, digest: str) -> bool:
        """Whether the card of an entry is indexed already as it is."""
        return self._digests.get(key) == digest

    def put(self, key: Key, digest: str, document: Document) -> None:
        """Index the card of an entry, in place of what was indexed for it. Seen by searches after `commit`."""
        self.drop(key)
        self._last_id = number = self._last_id + 1
        self._ids[key], self._keys[number], self._digests[key] = number, key, digest
        place = bisect_left(self._order, _by_name(key))
        self._order.insert(place, _by_name(key))
        self._order_ids.insert(place, number)
        self._alive.add(number)
        words = dict.fromkeys(self.analyze(f"{document.name}\n{document.skills}\n{document.about}"))
        for word in words:
            having = self._words.get(word)
            if having is None:
                having = self._words[word] = BitMap()
                insort(self._vocabulary, word)
            having.add(number)
        self._words_of[number] = tuple(words)
        listed, others = array("I"), array("I")
        for facet, value in document.values:
            (listed if facet in OPEN else others).append(self._values.add(facet, value, number))
        self._listed_of[number], self._others_of[number] = listed, others
        self._ranker.put(number, document)

    def set_state(self, key: Key, *, latest: bool, health: str) -> None:
        """Note what changes about an entry while its card does not."""
        number = self._ids[key]
        (self._latest.add if latest else self._latest.discard)(number)
        before = self._health_of.get(number)
        now = self._values.add("health", health, number)
        if before is not None and before != now:
            self._values.discard(before, number)
        self._health_of[number] = now
        self._matched.clear()

    def drop(self, key: Key) -> None:
        """Forget an entry, if it is known."""
        number = self._ids.pop(key, None)
        if number is None:
            return
        del self._keys[number], self._digests[key]
        place = bisect_left(self._order, _by_name(key))
        del self._order[place], self._order_ids[place]
        self._alive.discard(number)
        self._latest.discard(number)
        for word in self._words_of.pop(number):
            self._words[word].discard(number)
        for value in (*self._listed_of.pop(number), *self._others_of.pop(number)):
            self._values.discard(value, number)
        if number in self._health_of:
            self._values.discard(self._health_of.pop(number), number)
        self._ranker.drop(number)

    def commit(self) -> None:
        """Show what was put and dropped to searches."""
        self._matched.clear()
        self._values.sort()
        self._ranker.commit()

    def close(self) -> None:
        """Let go of the ranker's threads."""
        self._ranker.close()

    # -- searching
    def search(self, query: Query, limit: int, after: Position | None) -> Found:
        """The page of up to `limit` hits after a position."""
        match = self._match(query)
        hits: list[Position] = []
        more = False
        for tier in range(after.tier if after else 0, 2):
            within = match.documents & self._latest if tier == 0 else match.documents - self._latest
            if within:
                start = after if after and after.tier == tier else None
                wanted = limit - len(hits) + 1
                page = self._ranked if match.words else self._named
                hits += page(match, within, tier, wanted, start)
                more = len(hits) > limit
            if more:
                break
        return Found(
            hits=tuple((hit.key, hit.score) for hit in hits[:limit]),
            end=hits[limit - 1] if more else None,
            facets=match.facets,
            total=len(match.documents),
            words=tuple(dict.fromkeys(word for group in match.words for word in group)),
        )

    def _match(self, query: Query) -> _Match:
        known = self._matched.get(query)
        if known is not None:
            return known
        words = self._expanded(query.text)
        having = self._alive
        if query.text.strip():
            groups = [BitMap.union(BitMap(), *(self._words[word] for word in group)) for group in words]
            having = reduce(BitMap.intersection, sorted(groups, key=len)) if groups else BitMap()
        criteria = _criteria(query)
        for facet, accepted in criteria:
            having = having & BitMap.union(*(self._values.having(facet, value) for value in accepted))
        documents = having & self._values.having("health", query.health) if query.health else having
        facets = self._values.count(documents, FACETS, OPEN, self._listed_of)
        match = _Match(documents, len(having), words, criteria, facets)
        if len(self._matched) >= 256:
            self._matched.clear()
        self._matched[query] = match
        return match

    def _expanded(self, text: str) -> list[list[str]]:
        """For each word of the text, the indexed words it stands for: itself, and for the last one, while it may
        still be typed, those that it begins."""
        words = list(dict.fromkeys(self.analyze(text)))[:_MAX_WORDS]
        groups = [[word] for word in words]
        if words and len(words[-1]) > 1 and text[-1:].isalnum():
            start = bisect_right(self._vocabulary, words[-1])
            stop = bisect_left(self._vocabulary, words[-1] + "\U0010ffff")
            begun = self._vocabulary[start : min(stop, start + 2000)]
            begun.sort(key=lambda word: -len(self._words[word]))
            groups[-1] += begun[:_EXPANSIONS]
        return [[word for word in group if self._words.get(word)] for group in groups]

    def _named(
        self,
        match: _Match,
        within: BitMap,
        tier: int,
        limit: int,
        after: Position | None,
    ) -> list[Position]:
        """Hits by name and version."""
        if len(within) <= _FEW:
            order = sorted(_by_name(self._keys[number]) for number in within)
        else:
            order = self._order
        at = bisect_right(order, _by_name(after.key)) if after else 0
        rank = after.rank if after else 0
        if order is not self._order:
            found = [Key(*key) for _, *key in order[at : at + limit]]
        else:
            found = self._walk(within, at, limit)
        return [Position(tier, rank + i + 1, 1.0, key) for i, key in enumerate(found)]

    def _walk(self, within: BitMap, at: int, limit: int) -> list[Key]:
        """Up to `limit` keys of `within` by name, from place `at` of all on; stretches without any are passed over."""
        found: list[Key] = []
        while at < len(self._order) and len(found) < limit:
            stretch = self._order_ids[at : at + _STRETCH]
            if within.intersect(BitMap(stretch)):
                for i, number in enumerate(stretch):
                    if number in within:
                        found.append(Key(*self._order[at + i][1:]))
                        if len(found) == limit:
                            break
            at += _STRETCH
        return found

    def _ranked(
        self,
        match: _Match,
        within: BitMap,
        tier: int,
        limit: int,
        after: Position | None,
    ) -> list[Position]:
        """Hits by score. A page begins after the hit that the one before ended with, or if that is gone, after its score."""
        skip = after.rank if after else 0
        wanted = min(skip + limit, MAX_RANKED, len(within))
        ask = min(match.having, wanted * match.having // len(within) * 5 // 4 + limit)
        if len(within) <= _FEW and ask > 4 * _FEW:
            ranked = self._ranker.top(match.words, match.criteria, len(within), within)
        else:
            ranked = self._best(match, within, ask)
            while len(ranked) < wanted and ask < match.having:
                ask *= 4
                ranked = self._best(match, within, ask)
        if after:
            places = (i for i, (_, number) in enumerate(ranked) if self._keys[number] == after.key)
            lower = (i - 1 for i, (score, _) in enumerate(ranked) if score < after.score)
            skip = next(places, next(lower, len(ranked))) + 1
        return [
            Position(tier, skip + i + 1, score, self._keys[number])
            for i, (score, number) in enumerate(ranked[skip : skip + limit])
            if skip + i < MAX_RANKED
        ]

    def _best(self, match: _Match, within: BitMap, ask: int) -> list[tuple[float, int]]:
        best = self._ranker.top(match.words, match.criteria, ask)
        return [one for one in best if one[1] in within]


def _criteria(query: Query) -> list[Criterion]:
    """The criteria besides words and health. A media type is had by who accepts all of its kind, too."""
    found: list[Criterion] = []
    for facet, wanted in (
        ("namespace", query.namespace),
        ("skill", query.skill),
        ("tag", query.tag),
        ("capability", query.capability),
        ("provider", query.provider),
    ):
        if wanted:
            found.append((facet, (wanted,)))
    for facet, mode in (("inputMode", query.input_mode), ("outputMode", query.output_mode)):
        if mode:
            mode = media_type(mode)
            found.append((facet, tuple(dict.fromkeys((mode, f"{mode.partition('/')[0]}/*", "*/*")))))
    if query.binding and query.protocol_version:
        found.append((INTERFACE, (f"{query.binding} {query.protocol_version}",)))
    elif query.binding:
        found.append(("binding", (query.binding,)))
    elif query.protocol_version:
        found.append(("protocolVersion", (query.protocol_version,)))
    return found


def _by_name(key: Key) -> tuple[str, str, str, str]:
    return (key.name.casefold(), *key)
