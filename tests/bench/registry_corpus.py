"""A made-up catalogue with the skew of real ones: few common words, skills and tags, and a long tail of rare ones."""

import random
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")
MODES = ("text/plain", "application/json", "image/png", "audio/wav", "application/pdf", "text/markdown")
_SYLLABLES = [a + b for a in "bcdfghjklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "or", "el")]


class Vocabulary:
    """Words by Zipf's law: `word(0)` is in a good part of all texts, `word(7999)` in hardly any."""

    def __init__(self, size: int = 8000, seed: int = 7) -> None:
        self.random = random.Random(seed)
        words: dict[str, None] = {}
        while len(words) < size:
            words["".join(self.random.choices(_SYLLABLES, k=self.random.randint(2, 4)))] = None
        self._words = list(words)
        self._weights = list(accumulate(1 / (rank + 5) for rank in range(size)))

    def word(self, rank: int) -> str:
        return self._words[rank]

    def text(self, length: int) -> str:
        return " ".join(self.random.choices(self._words, cum_weights=self._weights, k=length))

    def chinese(self, length: int) -> str:
        """Text without spaces: two characters of a few thousand, the first ones most often, are a word."""
        picked = (min(int(self.random.paretovariate(0.5)), 3000) for _ in range(length))
        return "".join(_chinese(rank) for rank in picked)

    def ranked(self, stem: str, alpha: float, most: int) -> str:
        return f"{stem}-{min(int(self.random.paretovariate(alpha)), most)}"


def _chinese(rank: int) -> str:
    return chr(0x4E00 + rank * 7 % 6000) + chr(0x4E00 + rank * 13 % 6000)


def cards(count: int, vocabulary: Vocabulary) -> Iterator[dict[str, Any]]:
    """`count` valid cards of about 1.5 KB; every fifth is an older or newer version of the one before, every tenth speaks
    of itself in Chinese."""
    pick = vocabulary.random
    name, minor = "", 0
    for number in range(count):
        minor = minor + 1 if number % 5 == 4 else 0
        name = name if minor else f"{vocabulary.text(2).title()} {number}"
        skills = [
            {
                "id": f"{vocabulary.ranked('skill', 0.6, 5000)}-{place}"
                if place > 1
                else vocabulary.ranked("skill", 0.6, 5000) + "abc"[place],
                "name": vocabulary.text(2),
                "description": vocabulary.text(10),
                "tags": [vocabulary.ranked("tag", 0.7, 3000) for _ in range(3)],
            }
            for place in range(pick.randint(1, 3))
        ]
        yield {
            "name": name,
            "description": vocabulary.chinese(15) if number % 10 == 7 else vocabulary.text(20),
            "version": f"1.{minor}.0",
            "provider": {
                "organization": f"Provider {int(pick.paretovariate(0.5)) % 2000}",
                "url": "https://example.com",
            },
            "supportedInterfaces": [
                {"url": f"https://a{number}.example.com/{b}", "protocolBinding": b, "protocolVersion": v}
                for b, v in zip(
                    pick.sample(BINDINGS, pick.randint(1, 3)), ("1.0", "1.0", "0.3"), strict=False
                )
            ],
            "capabilities": {"streaming": pick.random() < 0.7, "pushNotifications": pick.random() < 0.4},
            "defaultInputModes": pick.sample(MODES, pick.randint(1, 3)),
            "defaultOutputModes": pick.sample(MODES, pick.randint(1, 3)),
            "skills": skills,
        }
