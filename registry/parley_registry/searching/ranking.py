"""The order of the hits of a text: by score, then key. A cursor is a place in that order, whatever has become of the hit there.

Where a hit changed or went, a page rather gives some hits once more than leaves one out.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose

from pyroaring import BitMap

from parley_registry.entry import Key
from parley_registry.searching.fusion import DEEP, fused
from parley_registry.searching.query import Position
from parley_registry.searching.ranker import Ranker, Wanted
from parley_registry.searching.reading import Read

MAX_RANKED = 5000
"""Ranked hits that one search by text can be paged through."""

_FEW = 512
"""Matches up to which ranking them alone is cheaper than ranking all that have the words."""
_SAME = 0.05
"""By how much a hit's score drifts, at most, while others come and go."""


@dataclass(frozen=True, slots=True)
class Match:
    """The documents that a query matches; in the order of their tiers; those of them that have its words as typed, and in
    any way; those near in meaning, with how near; how to rank by words, and how many of all documents that reaches; and
    the facets."""

    documents: BitMap
    tiers: tuple[BitMap, ...]
    plain: BitMap
    worded: BitMap
    near: Mapping[int, float]
    words: tuple[Read, ...]
    wanted: Wanted | None
    reach: int
    facets: dict[str, dict[str, int]]


class Ranking:
    """Hits by score, of the documents of `keys`."""

    def __init__(self, ranker: Ranker, keys: Mapping[int, Key]) -> None:
        self._ranker = ranker
        self._keys = keys

    def page(
        self, match: Match, within: BitMap, tier: int, limit: int, after: Position | None
    ) -> list[Position]:
        """Up to `limit` hits of the documents `within`, those of a tier, that follow `after`."""
        count = min((after.rank if after else 0) + limit, MAX_RANKED, len(within))
        order = self._blended(match, within, count) if match.near else self._best(match, within, count)
        skip = self._place(order, after) if after else 0
        return [
            Position(tier, skip + i + 1, score, self._keys[number])
            for i, (score, number) in enumerate(order[skip : skip + limit])
        ]

    def _place(self, order: list[tuple[float, int]], after: Position) -> int:
        """How many hits come up to `after`."""
        for i, (score, number) in enumerate(order):
            if self._keys[number] == after.key and isclose(score, after.score, rel_tol=_SAME):
                return i + 1
        before = bisect_left(order, (-after.score, after.key), key=lambda one: (-one[0], self._keys[one[1]]))
        return min(before, after.rank - 1)

    def _sorted(self, hits: list[tuple[float, int]]) -> list[tuple[float, int]]:
        return sorted(hits, key=lambda one: (-one[0], self._keys[one[1]]))[:MAX_RANKED]

    def _blended(self, match: Match, within: BitMap, count: int) -> list[tuple[float, int]]:
        """At least the best `count` by words and by meaning together, as far as they go."""
        by_words: list[int] = []
        for part in (match.plain & within, match.worded & within - match.plain):
            if part and len(by_words) < max(count, DEEP):
                best = self._best(match, part, min(max(count, DEEP), len(part)))
                by_words += [number for _, number in best]
        return self._sorted(fused(by_words, [number for number in match.near if number in within]))

    def _best(self, match: Match, within: BitMap, count: int) -> list[tuple[float, int]]:
        """At least the best `count` of the documents `within`, if there are as many."""
        assert match.wanted is not None
        ask = min(match.reach, count * match.reach // len(within) * 5 // 4 + 20)
        while True:
            if len(within) <= _FEW and ask > 4 * _FEW:
                return self._sorted(self._ranker.top(match.wanted, len(within), within, alone=True)[0])
            hits, last = self._ranker.top(match.wanted, ask, within, alone=False)
            # Of those that score as the last one, others may have been left out.
            sure = [one for one in hits if one[0] > last]
            if len(sure) >= count:
                return self._sorted(sure)
            if ask >= match.reach or len(hits) >= MAX_RANKED:
                return self._sorted(hits)
            ask *= 4
