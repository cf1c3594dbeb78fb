"""Which known words a mistyped one may stand for."""

from array import array

import numpy as np
from rapidfuzz.distance import OSA

from parley_registry.searching.words import is_cjk

_SHORTEST = 4
_LONG = 8


def slips(form: str) -> int:
    """Slips that a word may have: none below 4 letters, 1 up to 7, 2 in longer ones. A letter too many, missing, wrong,
    or two that changed places are one slip each."""
    if len(form) < _SHORTEST or not _is_spelt(form):
        return 0
    return 1 if len(form) < _LONG else 2


class Spelling:
    """The forms of words that are known. For one thread at a time."""

    def __init__(self) -> None:
        self._forms: list[str] = []
        self._letters = array("Q")
        self._lengths = array("B")

    def add(self, form: str) -> None:
        """Know a form; once each."""
        if _is_spelt(form) and len(form) >= _SHORTEST - 1:
            self._forms.append(form)
            self._letters.append(_letters(form))
            self._lengths.append(len(form))

    def near(self, form: str) -> list[tuple[str, int]]:
        """The known forms that `form` may stand for with fewest slips, and how many, itself left out; those that begin with
        the same letter first.

        Each slip changes at most two of the letters that there are, so few forms need a closer look.
        """
        most = slips(form)
        if not most or not self._forms:
            return []
        differing = np.bitwise_count(np.frombuffer(self._letters, np.uint64) ^ np.uint64(_letters(form)))
        lengths = np.frombuffer(self._lengths, np.uint8).astype(np.int16)
        likely = np.flatnonzero((differing <= 2 * most) & (np.abs(lengths - len(form)) <= most))
        found = []
        for at in likely.tolist():
            distance = OSA.distance(form, self._forms[at], score_cutoff=most)
            if 0 < distance <= most:
                found.append((distance, self._forms[at][0] != form[0], self._forms[at]))
        found.sort()
        return [(known, distance) for distance, _, known in found if distance == found[0][0]]


def _is_spelt(form: str) -> bool:
    return form.isalpha() and not is_cjk(form)


def _letters(form: str) -> int:
    bits = 0
    for letter in form:
        bits |= 1 << (ord(letter) & 63)
    return bits
