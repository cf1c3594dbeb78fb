"""How long to wait before trying again: longer each time, never in step with others."""

import random


class Backoff:
    """Pauses from `first` to at most `most` seconds, twice as long each time, each between half and all of it."""

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._times = 0

    def next(self) -> float:
        """Seconds to wait now."""
        pause = min(self._most, self._first * 2.0 ** min(self._times, 30))
        self._times += 1
        return pause * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It went well: begin with the shortest again."""
        self._times = 0
