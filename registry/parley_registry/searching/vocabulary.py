"""The words that the cards of an index have: for matching, for the beginning of a word, and for mistyped ones."""

from bisect import bisect_left, insort
from collections.abc import Callable

from parley_registry.searching.spelling import Spelling, slips
from parley_registry.searching.words import Lexicon, is_cjk

_SLACK = 10_000
_MOST_BEGUN = 2000


class Vocabulary:
    """The forms of all words in the indexed texts. What was met shows after `settle`. For one thread at a time."""

    def __init__(self) -> None:
        self._lexicon = Lexicon()
        self._kept = 0
        self._sorted: list[str] = []
        self._spelling = Spelling()

    def words(self, text: str) -> list[str]:
        """The words of a card's text in order, as they are indexed."""
        return self._lexicon.words(text)

    def word(self, form: str) -> str:
        """What a known form is indexed as."""
        return self._lexicon[form]

    def begun(self, form: str) -> list[str]:
        """Known forms that begin with `form` and are longer; not all of them if there are very many."""
        start = bisect_left(self._sorted, form)
        stop = bisect_left(self._sorted, form + "\U0010ffff")
        return [one for one in self._sorted[start : min(stop, start + _MOST_BEGUN)] if one != form]

    def near(self, form: str) -> list[str]:
        """Known forms that a mistyped one may stand for, the likeliest first."""
        return [known for known, _ in self._spelling.near(form)] if slips(form) else []

    def settle(self, in_use: Callable[[str], bool]) -> None:
        """Show what was met since. Once the forms have doubled, those whose word is not `in_use` any more are forgotten."""
        if len(self._lexicon) > 2 * self._kept + _SLACK:
            self._forget(in_use)
            return
        for form in self._lexicon.fresh:
            if not is_cjk(form):
                insort(self._sorted, form)
                self._spelling.add(form)
        self._lexicon.fresh.clear()

    def _forget(self, in_use: Callable[[str], bool]) -> None:
        kept = {form: word for form, word in self._lexicon.items() if in_use(word)}
        self._lexicon, self._spelling = Lexicon(kept), Spelling()
        self._kept = len(kept)
        self._sorted = sorted(form for form in kept if not is_cjk(form))
        for form in self._sorted:
            self._spelling.add(form)
