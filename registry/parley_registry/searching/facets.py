"""Which of the matches have which values: exact counts of the most frequent ones, from bitmaps, without looking at all values."""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import heappush, heappushpop, nlargest
from itertools import chain

from pyroaring import BitMap

TOP = 20
"""Values given of each facet."""

_FEW = 1000
"""Matches up to which counting them one by one is cheaper than intersecting values."""


class Values:
    """All values of all facets, each with the bitmap of the documents that have it. For one thread at a time."""

    def __init__(self, facets: Sequence[str]) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._facets: list[str] = []
        self._labels: list[str] = []
        self._bitmaps: list[BitMap] = []
        self._of_facet: dict[str, list[int]] = {facet: [] for facet in facets}
        self._unsorted: set[str] = set()
        self._free: list[int] = []
        self._thinned: set[str] = set()

    def add(self, facet: str, label: str, document: int) -> int:
        """Note that a document has a value; returns the value's number. Case does not matter, the first spelling is shown."""
        key = (facet, label.casefold())
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._new(facet, label)
        self._bitmaps[number].add(document)
        self._unsorted.add(facet)
        return number

    def discard(self, number: int, document: int) -> None:
        """Note that a document no longer has a value. A value that none has any more is forgotten."""
        bitmap, facet = self._bitmaps[number], self._facets[number]
        bitmap.discard(document)
        self._unsorted.add(facet)
        if not bitmap:
            del self._numbers[facet, self._labels[number].casefold()]
            self._free.append(number)
            self._thinned.add(facet)

    def number(self, facet: str, label: str) -> int | None:
        """The number of a value that some document has."""
        return self._numbers.get((facet, label.casefold()))

    def having(self, number: int) -> BitMap:
        """The documents that have a value."""
        return self._bitmaps[number]

    def count(
        self,
        matches: BitMap,
        shown: Sequence[str],
        listed: Sequence[str],
        values_of: Mapping[int, "array[int]"],
    ) -> dict[str, dict[str, int]]:
        """Of each facet in `shown`, the `TOP` values most frequent among `matches`, with how many have them.

        `values_of` gives the numbers of a document's values in the facets `listed`, those with many values:
        among few matches these are counted from the documents' side.
        """
        few = listed if len(matches) <= _FEW else ()
        self.sort()
        best = {
            facet: self._most(matches, self._of_facet.get(facet, ())) for facet in shown if facet not in few
        }
        if few:
            counted: dict[str, list[tuple[int, int]]] = {facet: [] for facet in few}
            for number, count in Counter(chain.from_iterable(map(values_of.__getitem__, matches))).items():
                counted[self._facets[number]].append((count, -number))
            best |= {facet: nlargest(TOP, pairs) for facet, pairs in counted.items()}
        return {
            facet: {self._labels[-number]: count for count, number in sorted(best[facet], reverse=True)}
            for facet in shown
        }

    def _most(self, matches: BitMap, numbers: Sequence[int]) -> list[tuple[int, int]]:
        """(count, -number) of the most frequent values. `numbers` come with the largest bitmap first, so the rest
        can be left alone once none of it can be more frequent than what was found."""
        best: list[tuple[int, int]] = []
        for number in numbers:
            bitmap = self._bitmaps[number]
            if len(best) == TOP and len(bitmap) <= best[0][0]:
                break
            count = matches.intersection_cardinality(bitmap)
            if count and len(best) < TOP:
                heappush(best, (count, -number))
            elif count:
                heappushpop(best, (count, -number))
        return best

    def sort(self) -> None:
        """Put the most frequent values first again. `count` does so if need be; after many changes, better before."""
        for facet in self._unsorted:
            if facet in self._thinned:
                alive = {n for n in self._of_facet[facet] if self._facets[n] == facet and self._bitmaps[n]}
                self._of_facet[facet] = sorted(alive)
            self._of_facet[facet].sort(key=lambda number: -len(self._bitmaps[number]))
        self._unsorted.clear()
        self._thinned.clear()

    def _new(self, facet: str, label: str) -> int:
        if self._free:
            number = self._free.pop()
            self._facets[number], self._labels[number] = facet, label
        else:
            number = len(self._bitmaps)
            self._facets.append(facet)
            self._labels.append(label)
            self._bitmaps.append(BitMap())
        self._of_facet.setdefault(facet, []).append(number)
        return number
