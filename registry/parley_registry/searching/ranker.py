"""Which hit fits a text best: tantivy's BM25 over the fields of a card. Numbers of documents in, numbers and scores out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import tantivy
from tantivy import Occur, Query, TextAnalyzerBuilder, Tokenizer

Alternatives = Sequence[tuple[str, float]]
"""Words of which one must be had, each with its weight."""

_FIELDS = (("name", 4.0), ("skills", 3.0), ("about", 1.0))
_HEAP = 50_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to rank by: groups of words of which one must be had, of every group or (if not `all`) of any; and of each of
    the `criteria` one of the values."""

    words: Sequence[Alternatives]
    all: bool
    criteria: Sequence[Sequence[int]]


class Ranker:
    """Documents by number. What was put and dropped shows after `commit`."""

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
        self._dirty = False

    def put(self, number: int, words: Sequence[Sequence[str]], values: Iterable[int]) -> None:
        """Add a document under a number that no other has: the words of its name, of its skills, of all else; its values."""
        name, skills, about = (" ".join(of_field) for of_field in words)
        told = tantivy.Document(name=name, skills=skills, about=about, values=" ".join(map(str, values)))
        told.add_unsigned("id", number)
        self._writer.add_document(told)
        self._dirty = True

    def drop(self, number: int) -> None:
        """Remove a document."""
        self._writer.delete_documents_by_term("id", number)
        self._dirty = True

    def commit(self) -> None:
        """Show what changed."""
        if self._dirty:
            self._writer.commit()
            self._index.reload()
            self._searcher = self._index.searcher()
            self._dirty = False

    def close(self) -> None:
        """Let go of the threads that merge."""
        self._writer.wait_merging_threads()

    def top(self, wanted: Wanted, limit: int, among: Iterable[int] | None = None) -> list[tuple[float, int]]:
        """(score, number) of the best `limit` documents that fit; only of those `among`, if given. Equal scores come in the
        same order whatever the limit, until the next commit.
        """
        query = self._query(wanted)
        if among is not None:
            only = Query.const_score_query(Query.term_set_query(self._schema, "id", list(among)), 0.0)
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, only)])
        found = self._searcher.search(query, limit, count=False).hits
        numbers = self._searcher.fast_field_values("id", [address for _, address in found])
        return [
            (round(float(score), 4), number)
            for (score, _), number in zip(found, numbers, strict=True)
            if isinstance(number, int)
        ]

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
