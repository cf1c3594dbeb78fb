"""Keys in the order in which they are listed: by name, whatever its case, then namespace and version."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from pyroaring import BitMap

from parley_registry.entry import Key

_FEW = 512
"""Keys up to which sorting them costs less than looking for them among all."""
_MANY = 200
"""New keys from which on sorting all again costs less than putting each in its place."""
_STRETCH = 2048

Place = tuple[str, str, Key]


class Order:
    """Keys with the numbers of their documents. What was put shows after `settle`. For one thread at a time."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._numbers = array("I")
        self._fresh: dict[Key, int] = {}

    def put(self, key: Key, number: int) -> None:
        """Add a key that is not in it."""
        self._fresh[key] = number

    def drop(self, key: Key) -> None:
        """Remove a key that is in it."""
        if self._fresh.pop(key, None) is None:
            at = bisect_left(self._places, _place(key))
            del self._places[at], self._numbers[at]

    def settle(self) -> None:
        """Show what was put since."""
        if len(self._fresh) < _MANY:
            for key, number in self._fresh.items():
                place = _place(key)
                at = bisect_left(self._places, place)
                self._places.insert(at, place)
                self._numbers.insert(at, number)
        else:
            both = [*zip(self._places, self._numbers, strict=True)]
            both += [(_place(key), number) for key, number in self._fresh.items()]
            both.sort()
            self._places = [place for place, _ in both]
            self._numbers = array("I", [number for _, number in both])
        self._fresh = {}

    def page(self, within: BitMap, limit: int, after: Key | None, key_of: Callable[[int], Key]) -> list[Key]:
        """Up to `limit` keys of the documents in `within` that follow `after`."""
        if len(within) <= _FEW:
            few = sorted(_place(key_of(number)) for number in within)
            at = bisect_right(few, _place(after)) if after else 0
            return [key for *_, key in few[at : at + limit]]
        found: list[Key] = []
        at = bisect_right(self._places, _place(after)) if after else 0
        while at < len(self._places) and len(found) < limit:
            stretch = self._numbers[at : at + _STRETCH]
            if within.intersect(BitMap(stretch)):
                there = (self._places[at + i][2] for i, number in enumerate(stretch) if number in within)
                found += [key for key, _ in zip(there, range(limit - len(found)), strict=False)]
            at += _STRETCH
        return found


def _place(key: Key) -> Place:
    return (key.name.casefold(), key.name, key)
