"""Which documents have which words."""

from array import array
from collections.abc import Iterable

from pyroaring import BitMap

_NONE = BitMap()


class Postings:
    """Words with the bitmaps of the documents that have them; a word that none has any more is forgotten.
    For one thread at a time."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._words: list[str] = []
        self._bitmaps: list[BitMap] = []
        self._free: list[int] = []
        self._words_of: dict[int, array[int]] = {}

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def having(self, word: str) -> BitMap:
        """The documents that have a word."""
        number = self._numbers.get(word)
        return _NONE if number is None else self._bitmaps[number]

    def put(self, document: int, words: Iterable[str]) -> None:
        """Note the words of a document, each once, under a number that is not in use."""
        bitmaps, known = self._bitmaps, self._numbers.get
        numbers = array("I")
        for word in words:
            number = known(word)
            if number is None:
                number = self._new(word)
            bitmaps[number].add(document)
            numbers.append(number)
        self._words_of[document] = numbers

    def drop(self, document: int) -> None:
        """Forget a document."""
        for number in self._words_of.pop(document):
            bitmap = self._bitmaps[number]
            bitmap.discard(document)
            if not bitmap:
                del self._numbers[self._words[number]]
                self._free.append(number)

    def _new(self, word: str) -> int:
        if self._free:
            number = self._free.pop()
            self._words[number] = word
        else:
            number = len(self._words)
            self._words.append(word)
            self._bitmaps.append(BitMap())
        self._numbers[word] = number
        return number
