"""One order out of two: by the ranks that a document has in each (reciprocal rank fusion)."""

from collections.abc import Sequence

DEEP = 200
"""Ranks of an order that count; what comes later follows in that order."""
_K = 60


def fused(by_words: Sequence[int], by_meaning: Sequence[int]) -> list[tuple[float, int]]:
    """(score, number) of all, in no particular order. However much longer `by_words` is, the best stay the same."""
    scores: dict[int, float] = {}
    for order in (by_words[:DEEP], by_meaning[:DEEP]):
        for rank, number in enumerate(order):
            scores[number] = scores.get(number, 0.0) + 1 / (_K + rank + 1)
    for rank, number in enumerate(by_words[DEEP:], DEEP):
        scores.setdefault(number, 1 / (_K + rank + 1))
    return [(round(score, 9), number) for number, score in scores.items()]
