"""Names that look alike: what two of them have in common when a person could take one for the other."""

import unicodedata
from collections.abc import Mapping
from functools import cache


def folded(name: str) -> str:
    """The name without what case, width and composition make of it (NFKC, case-folded)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def shapes(name: str) -> frozenset[str]:
    """What the name can be taken for; two names that have one of these in common can hardly be told apart.

    They are the name folded, and the skeletons (Unicode's UTS 39) of it as it is and in capitals: so `coder` goes
    together with `Coder`, with `c0der` and with `coder` that has a Cyrillic letter, `agent-l` with `agent-1`.
    """
    plain = unicodedata.normalize("NFKC", name)
    return frozenset((folded(name), folded(_skeleton(plain)), folded(_skeleton(plain.upper()))))


def _skeleton(text: str) -> str:
    shapes = _shapes()
    plain = "".join(
        shapes.get(one, one)
        for one in unicodedata.normalize("NFD", text)
        if unicodedata.category(one) != "Cf"  # what has no shape at all, as a zero-width joiner
    )
    return unicodedata.normalize("NFD", plain)


@cache
def _shapes() -> Mapping[str, str]:
    """For each character that can be taken for others one and the same of them (or two, as rn for m)."""
    from confusable_homoglyphs.confusables import (
        confusables_data,  # a megabyte, needed only where there are owners
    )

    shape: dict[str, str] = {}

    def root(text: str) -> str:
        while (above := shape.get(text, text)) != text:
            text = above
        return text

    for text, others in confusables_data.items():
        for other in others:
            one, two = sorted((root(text), root(str(other["c"]))), key=_plainest)
            shape[two] = one
    return {text: root(text) for text in shape if len(text) == 1}


def _plainest(text: str) -> tuple[bool, bool, int, str]:
    """The order in which characters stand for the others of their shape: those of ASCII, and the longest, first."""
    return (not text.isascii(), not text.isalnum(), -len(text), text)
