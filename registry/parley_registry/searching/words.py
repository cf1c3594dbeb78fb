"""The words of a text: stemmed where letters make words, pairs of characters where Chinese, Japanese and Korean do not part them."""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize

from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

_LONGEST = 64
"""Letters of a word; what is longer is cut into pieces."""
_ASCII = re.compile(f"[a-z0-9]{{1,{_LONGEST}}}")
_CJK = re.compile(
    "([\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003fffd]+)"
)
_ACCENTED = (
    TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.lowercase()).filter(Filter.ascii_fold()).build()
)
_STEMMED = TextAnalyzerBuilder(Tokenizer.raw()).filter(Filter.stemmer("English")).build()


@dataclass(frozen=True, slots=True)
class Typed:
    """A word of a query: as typed (lower case, without accents), and as it is indexed."""

    form: str
    word: str


class Lexicon(dict[str, str]):
    """All forms of words that were met in texts, each with the word it is indexed as; `fresh` are those met last."""

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        super().__init__(known or {})
        self.fresh: list[str] = []

    def __missing__(self, form: str) -> str:
        word = self[form] = _stem(form)
        self.fresh.append(form)
        return word

    def words(self, text: str) -> list[str]:
        """The words of a card's text in order, which the lexicon knows from now on. A run of Chinese, Japanese or Korean
        gives each character and each pair of neighbours."""
        return list(map(self.__getitem__, _forms(text, for_index=True)))


def typed(text: str) -> list[Typed]:
    """The words of a query, each once. A run of Chinese, Japanese or Korean gives its pairs of neighbours alone."""
    forms = dict.fromkeys(_forms(text, for_index=False))
    return [Typed(form, _stem(form)) for form in forms]


def marked(text: str, wanted: Set[str]) -> tuple[list[str], set[str]]:
    """What of a text is among the `wanted` words: as it stands there, each once, and the words. Of Chinese, Japanese and
    Korean, neighbours that are wanted come as one."""
    found: dict[str, None] = {}
    words: set[str] = set()
    for part in _CJK.split(text if text.isascii() else normalize("NFKC", text)):
        if _CJK.match(part):
            shown = [False] * len(part)
            for at in range(len(part)):
                for one in (part[at], part[at : at + 2]):
                    if one in wanted:
                        words.add(one)
                        shown[at : at + len(one)] = [True] * len(one)
            runs = "".join(char if shown[at] else " " for at, char in enumerate(part))
            found |= dict.fromkeys(runs.split())
            continue
        for form in _forms(part, for_index=True):
            if (word := _stem(form)) in wanted:
                words.add(word)
                found[form] = None
    return list(found), words


def is_cjk(form: str) -> bool:
    """Whether a form is of a run of Chinese, Japanese or Korean characters."""
    return _CJK.match(form) is not None


@lru_cache(16384)
def _stem(form: str) -> str:
    return form if is_cjk(form) else str(_STEMMED.analyze(form)[0])


def _forms(text: str, *, for_index: bool) -> list[str]:
    if text.isascii():
        return _ASCII.findall(text.lower())
    found = _of_any_script(normalize("NFKC", text), for_index)
    return [form[at : at + _LONGEST] for form in found for at in range(0, len(form), _LONGEST)]


def _of_any_script(text: str, for_index: bool) -> Iterator[str]:
    for place, part in enumerate(_CJK.split(text)):
        if place % 2 == 0:
            yield from _ACCENTED.analyze(part)
            continue
        if for_index or len(part) == 1:
            yield from part
        yield from (part[at : at + 2] for at in range(len(part) - 1))
