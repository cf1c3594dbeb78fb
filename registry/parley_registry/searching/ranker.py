"""Which hit fits a text best: tantivy's BM25 over the fields of a card. Numbers of documents in, numbers and scores out.

Showing a change costs tantivy some ten milliseconds, however small it is. So changes that come one after another are shown
to it together, once a second; until then, what is new is scored here, by nearly the same formula.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import tantivy
from pyroaring import BitMap
from tantivy import Occur, Query, TextAnalyzerBuilder, Tokenizer

Alternatives = Sequence[tuple[str, float]]
"""Words of which one must be had, each with its weight."""

_FIELDS = (("name", 4.0), ("skills", 3.0), ("about", 1.0))
_HEAP = 50_000_000
_EVERY = 1.0
"""Seconds between two commits while changes keep coming."""
_MANY = 5000
"""Changes that are committed at once."""
_K1 = 1.2


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to rank by: groups of words of which one must be had, of every group or (if not `all`) of any; and of each of
    the `criteria` one of the values."""

    words: Sequence[Alternatives]
    all: bool
    criteria: Sequence[Sequence[int]]


class Ranker:
    """Documents by number. What was put shows at once; what was dropped may show until `settled`: leave it out of the
    results, and do not use its number for another before."""

    def __init__(self) -> None:
        schema = tantivy.SchemaBuilder()
        for field, _ in _FIELDS:
            schema.add_text_field(field, tokenizer_name="words", index_option="freq")
        schema.add_text_field("values", tokenizer_name="words", index_option="basic")
        schema.add_unsigned_field("id", indexed=True, fast=True)
        self._schema = schema.build()
        self._index = tantivy.Index(self._schema)
        self._index.register_tokenizer("words", TextAnalyzerBuilder(Tokenizer.whitespace()).build())
        self._writer = self._index.writer(_HEAP, 1)
        self._searcher = self._index.searcher()
        self._fresh: dict[int, Sequence[Sequence[str]]] = {}
        self._gone = 0
        self._committed = 0.0

    @property
    def settled(self) -> bool:
        """Whether tantivy knows of all changes."""
        return not self._fresh and not self._gone

    def put(self, number: int, words: Sequence[Sequence[str]], values: Iterable[int]) -> None:
        """Add a document under a number that no other has: the words of its name, of its skills, of all else; its values."""
        name, skills, about = (" ".join(of_field) for of_field in words)
        told = tantivy.Document(name=name, skills=skills, about=about, values=" ".join(map(str, values)))
        told.add_unsigned("id", number)
        self._writer.add_document(told)
        self._fresh[number] = words

    def drop(self, number: int) -> None:
        """Remove a document."""
        # By query, for deleting by term takes any number for a signed one, and so deletes nothing here.
        self._writer.delete_documents_by_query(Query.term_query(self._schema, "id", number))
        self._fresh.pop(number, None)
        self._gone += 1

    def settle(self, *, now: bool = False) -> bool:
        """Let tantivy know of all changes, if it is time to, or `now`. Returns `settled`."""
        due = now or time.monotonic() - self._committed >= _EVERY or len(self._fresh) + self._gone >= _MANY
        if due and not self.settled:
            self._writer.commit()
            self._index.reload()
            self._searcher = self._index.searcher()
            self._fresh, self._gone = {}, 0
            self._committed = time.monotonic()
        return self.settled

    def close(self) -> None:
        """Let go of the threads that merge."""
        self._writer.wait_merging_threads()

    def top(
        self, wanted: Wanted, limit: int, within: BitMap, *, alone: bool
    ) -> tuple[list[tuple[float, int]], float]:
        """(score, number) of those documents `within` that are among the best `limit` of all that fit, or (`alone`) the
        best `limit` of themselves, in no particular order; and the score up to which all of them are there: of those that
        have it, and less, some may be missing. Below 0 when none is."""
        query = self._query(wanted)
        if alone:
            only = Query.const_score_query(Query.term_set_query(self._schema, "id", list(within)), 0.0)
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, only)])
        found = self._searcher.search(query, limit + self._gone, count=False).hits
        last = _rounded(found[-1][0]) if len(found) >= limit + self._gone else -1.0
        numbers = self._searcher.fast_field_values("id", [address for _, address in found])
        best = [
            (_rounded(score), number)
            for (score, _), number in zip(found, numbers, strict=True)
            if isinstance(number, int) and number in within
        ]
        if not self._fresh:
            return best, last
        words = {word for group in wanted.words for word, _ in group}
        rarity = {(field, word): self._rarity(field, word) for field, _ in _FIELDS for word in words}
        best += [(self._score(n, wanted, rarity), n) for n in self._fresh if n in within]
        return best, last

    def _score(self, number: int, wanted: Wanted, rarity: Mapping[tuple[str, str], float]) -> float:
        score = 0.0
        for (field, boost), of_field in zip(_FIELDS, self._fresh[number], strict=True):
            for word, weight in (one for group in wanted.words for one in group):
                if times := of_field.count(word):
                    score += boost * weight * rarity[field, word] * times * (_K1 + 1) / (times + _K1)
        return _rounded(score)

    def _rarity(self, field: str, word: str) -> float:
        having = self._searcher.doc_freq(field, word) + 1
        return log(1 + (self._searcher.num_docs + 1 - having + 0.5) / (having + 0.5))

    def _query(self, wanted: Wanted) -> Query:
        groups = [Query.boolean_query(self._either(group)) for group in wanted.words]
        if not wanted.all:
            groups = [Query.boolean_query([(Occur.Should, group) for group in groups])]
        parts = [(Occur.Must, group) for group in groups]
        for values in wanted.criteria:
            had = [(Occur.Should, self._term("values", str(value))) for value in values]
            one = had[0][1] if len(had) == 1 else Query.boolean_query(had)
            parts.append((Occur.Must, Query.const_score_query(one, 0.0)))
        return Query.boolean_query(parts)

    def _either(self, group: Alternatives) -> list[tuple[Occur, Query]]:
        return [
            (Occur.Should, Query.boost_query(self._term(field, word), weight * of_word))
            for word, of_word in group
            for field, weight in _FIELDS
        ]

    def _term(self, field: str, word: str) -> Query:
        return Query.term_query(self._schema, field, word, "basic" if field == "values" else "freq")


def _rounded(score: Any) -> float:
    return round(float(score), 4)
