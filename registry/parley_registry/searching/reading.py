"""How the text of a search is taken: as typed, as the beginning of longer words, as a slip, or, at the last, in part."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyroaring import BitMap

from parley_registry.searching.postings import Postings
from parley_registry.searching.ranker import Alternatives
from parley_registry.searching.spelling import slips
from parley_registry.searching.vocabulary import Vocabulary
from parley_registry.searching.words import Typed, is_cjk, typed

MAX_WORDS = 12
"""Words of a text that count; of Chinese, Japanese and Korean, pairs of characters."""

_BEGUN = 6
"""Words that the last word, if it is the beginning of others, stands for besides itself: the most frequent ones."""
_CORRECTED = 4
_ENOUGH = 10
"""Matches as typed from which on no word is taken for a slip."""
_SURE = 6
"""Letters below which a word that cards have is what was meant."""
_LESS = 0.5
"""Weight of a word that is not quite the one typed."""


@dataclass(frozen=True, slots=True)
class Read:
    """A word as typed, the indexed words it stands for, and those that it does if it is a slip, each with its form."""

    typed: Typed
    words: tuple[str, ...]
    corrected: tuple[tuple[str, str], ...] = ()

    @property
    def alternatives(self) -> Alternatives:
        """The indexed words with their weights."""
        others = [(word, _LESS) for word in (*self.words, *(word for word, _ in self.corrected))]
        return [(word, 1.0 if word == self.typed.word else weight) for word, weight in others]


@dataclass(frozen=True, slots=True)
class Reading:
    """The words of a text, the documents that have all of them as typed (`plain`) and all that fit; `whole` says whether
    these have every word, and `reach` how many documents of those to rank have every word, or else any."""

    words: tuple[Read, ...]
    plain: BitMap
    matches: BitMap
    whole: bool
    reach: int


def read(text: str, among: BitMap, ranked: BitMap, vocabulary: Vocabulary, postings: Postings) -> Reading:
    """Take a text for what fits documents `among`, which are all `ranked` ones or some of them.

    Words may be slips when fewer than ten documents have all of them as typed: those that no card has, and the
    longer ones. When no document has every word, those do that have the most of them, more than half.
    """
    words = typed(text)[:MAX_WORDS]
    taken = [Read(word, tuple(w for w in (word.word,) if w in postings)) for word in words]
    if words and text[-1:].isalnum():
        taken[-1] = _begun(taken[-1], vocabulary, postings)
    having = [_having(one, postings) for one in taken]
    plain = _all(having, among)
    if len(plain) < _ENOUGH:
        corrected = [_corrected(one, vocabulary, postings) for one in taken]
        if corrected != taken:
            taken, having = corrected, [_having(one, postings) for one in corrected]
    matches = _all(having, among)
    if matches or len(taken) < 3:
        return Reading(tuple(taken), plain, matches, True, len(_all(having, ranked)))
    return Reading(tuple(taken), plain, _most(having, among), False, len(_any(having) & ranked))


def _begun(one: Read, vocabulary: Vocabulary, postings: Postings) -> Read:
    form = one.typed.form
    if len(form) < 2 or is_cjk(form):
        return one
    begun = {vocabulary.word(longer) for longer in vocabulary.begun(form)} - {one.typed.word}
    best = sorted(begun, key=lambda word: (-len(postings.having(word)), word))[:_BEGUN]
    return Read(one.typed, (*one.words, *(word for word in best if word in postings)))


def _corrected(one: Read, vocabulary: Vocabulary, postings: Postings) -> Read:
    form = one.typed.form
    if not slips(form) or (one.words and len(form) < _SURE):
        return one
    meant: dict[str, str] = {}
    for known in vocabulary.near(form):
        word = vocabulary.word(known)
        if word in postings and word not in one.words:
            meant.setdefault(word, known)
    best = sorted(meant, key=lambda word: -len(postings.having(word)))[:_CORRECTED]
    return Read(one.typed, one.words, tuple((word, meant[word]) for word in best))


def _having(one: Read, postings: Postings) -> BitMap:
    return BitMap.union(BitMap(), *(postings.having(word) for word, _ in one.alternatives))


def _all(having: Sequence[BitMap], among: BitMap) -> BitMap:
    return reduce(BitMap.intersection, sorted(having, key=len), among) if having else BitMap()


def _any(having: Sequence[BitMap]) -> BitMap:
    return BitMap.union(BitMap(), *having)


def _most(having: Sequence[BitMap], among: BitMap) -> BitMap:
    """The documents that have the most of the words, if that is more than half of them."""
    having_n = [among]
    for one in having:
        more = [had & one for had in having_n]
        having_n = [a | b for a, b in zip([*having_n, BitMap()], [BitMap(), *more], strict=True)]
    best = next((n for n in range(len(having), 0, -1) if having_n[n]), 0)
    return having_n[best] if 2 * best > len(having) else BitMap()
