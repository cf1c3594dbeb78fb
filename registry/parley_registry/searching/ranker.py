"""Which hit fits a text best: tantivy's BM25 over the fields of a card. Numbers of documents in, numbers and scores out."""

from collections.abc import Iterable, Sequence

import tantivy
from tantivy import Filter, Occur, Query, TextAnalyzerBuilder, Tokenizer

from parley_registry.searching.document import Document

Criterion = tuple[str, tuple[str, ...]]
"""A facet, and the values of which one must be had."""

_WEIGHTS = (("name", 4.0), ("skills", 3.0), ("about", 1.0))
_HEAP = 50_000_000


class Ranker:
    """Documents by number. What was put and dropped shows after `commit`."""

    def __init__(self) -> None:
        self._analyzer = (
            TextAnalyzerBuilder(Tokenizer.simple())
            .filter(Filter.remove_long(64))
            .filter(Filter.lowercase())
            .filter(Filter.ascii_fold())
            .filter(Filter.stemmer("English"))
            .build()
        )
        schema = tantivy.SchemaBuilder()
        for field, _ in _WEIGHTS:
            schema.add_text_field(field, tokenizer_name="parley", index_option="freq")
        schema.add_text_field("value", tokenizer_name="raw", index_option="basic")
        schema.add_unsigned_field("id", indexed=True, fast=True)
        self._schema = schema.build()
        self._index = tantivy.Index(self._schema)
        self._index.register_tokenizer("parley", self._analyzer)
        self._writer = self._index.writer(_HEAP, 1)
        self._searcher = self._index.searcher()
        self._dirty = False

    def analyze(self, text: str) -> list[str]:
        """The words of a text as they are indexed: lower case, without accents, stemmed."""
        words: list[str] = self._analyzer.analyze(text)
        return words

    def put(self, number: int, document: Document) -> None:
        """Add a document under a number that was never used."""
        ranked = tantivy.Document(name=document.name, skills=document.skills, about=document.about)
        for facet, value in document.values:
            ranked.add_text("value", _term(facet, value))
        ranked.add_unsigned("id", number)
        self._writer.add_document(ranked)
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

    def top(
        self,
        words: Sequence[Sequence[str]],
        criteria: Sequence[Criterion],
        limit: int,
        among: Iterable[int] | None = None,
    ) -> list[tuple[float, int]]:
        """(score, number) of the best `limit` documents that have one of each group of words and meet the criteria;
        only of those `among`, if given. Equal scores come in the same order whatever the limit, until the next commit.
        """
        query = self._query(words, criteria)
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

    def _query(self, words: Sequence[Sequence[str]], criteria: Sequence[Criterion]) -> Query:
        parts = []
        for group in words:
            terms = []
            for place, word in enumerate(group):
                for field, weight in _WEIGHTS:
                    term = Query.term_query(self._schema, field, word, "freq")
                    terms.append(
                        (Occur.Should, Query.boost_query(term, weight if place == 0 else weight / 2))
                    )
            parts.append((Occur.Must, Query.boolean_query(terms)))
        for facet, accepted in criteria:
            had = [
                (Occur.Should, Query.term_query(self._schema, "value", _term(facet, value), "basic"))
                for value in accepted
            ]
            one = had[0][1] if len(had) == 1 else Query.boolean_query(had)
            parts.append((Occur.Must, Query.const_score_query(one, 0.0)))
        return Query.boolean_query(parts)


def _term(facet: str, value: str) -> str:
    return f"{facet} {value.casefold()}"
