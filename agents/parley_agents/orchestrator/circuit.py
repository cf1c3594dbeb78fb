"""Retries: how long to wait, and when to leave an agent alone for a while."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

FIRST = 0.25
LONGEST = 15.0
"""Seconds of the first and of the longest pause between tries, before jitter."""
LONGEST_ASKED = 120.0
"""Seconds an agent's Retry-After may make us wait."""


def pause(
    attempt: int, retry_after: float | None = None, chance: Callable[[], float] = random.random
) -> float:
    """Seconds to wait after failed try number `attempt` (from 1): exponential with full jitter of the upper
    half, and never less than the agent asked for (up to LONGEST_ASKED)."""
    most = min(LONGEST, FIRST * 2.0 ** min(attempt - 1, 16))
    own = most * (0.5 + chance() / 2)
    return max(own, min(retry_after or 0.0, LONGEST_ASKED))


def retry_after(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3), or None when it is absent or malformed."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now())
    except (ValueError, TypeError):
        return None


@dataclass(slots=True)
class Circuit:
    """The circuit to one agent: opens after `threshold` failures in a row, lets one try through after
    `cooldown` seconds, closes at the first success."""

    threshold: int = 4
    cooldown: float = 30.0
    failures: int = 0
    opened: float = 0.0

    def state(self, now: float) -> str:
        """ "closed", "open", or "half-open" when a try is due."""
        if self.failures < self.threshold:
            return "closed"
        return "half-open" if now - self.opened >= self.cooldown else "open"

    def failed(self, now: float) -> None:
        """Note a failure; a failure while half-open opens it again."""
        self.failures += 1
        if self.failures >= self.threshold:
            self.opened = now

    def worked(self) -> None:
        """Note a success."""
        self.failures = 0


@dataclass(slots=True)
class Circuits:
    """One circuit an agent instance, by its URL. Kept in this process only: another learns for itself."""

    clock: Callable[[], float] = time.monotonic
    threshold: int = 4
    cooldown: float = 30.0
    _by_url: dict[str, Circuit] = field(default_factory=dict)

    def of(self, url: str) -> Circuit:
        """The circuit to the agent at `url`."""
        return self._by_url.setdefault(url, Circuit(self.threshold, self.cooldown))

    def state(self, url: str) -> str:
        """See `Circuit.state`."""
        return self.of(url).state(self.clock())

    def failed(self, url: str) -> None:
        """Note a failure of the agent at `url`."""
        self.of(url).failed(self.clock())

    def worked(self, url: str) -> None:
        """Note that the agent at `url` did what it was asked."""
        self.of(url).worked()
