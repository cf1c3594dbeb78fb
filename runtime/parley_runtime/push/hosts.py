"""The receivers' hosts: how many deliveries are under way to each, and which are left in peace for a while."""

import math
import random
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from parley_runtime.push.policy import backoff

_FIRST_QUIET = 0.5
_LONGEST_QUIET = 60.0
_REMEMBERED = 4096
_QUICK = 0.5
"""Seconds within which a quick host answers, on average."""
_WEIGHT = 0.3
"""How much the last answer counts in that average."""


Kind = Literal["quick", "unknown", "slow"]


@dataclass(slots=True)
class _Host:
    under_way: int = 0
    failures: int = 0
    quiet_until: float = 0.0
    seconds: float = -1.0
    """How long it takes to answer, on average; less than 0 before the first answer."""

    @property
    def kind(self) -> Kind:
        if self.failures or self.seconds >= _QUICK:
            return "slow"
        return "quick" if self.seconds >= 0 else "unknown"


class Hosts:
    """A `Gate`: at most `at_once` deliveries to a host, none for a moment after it did not answer; at most `slow`
    together to hosts that are slow or dead, and `unproven` to those and the ones of which nothing is known.

    So however many receivers are dead or slow, there are always places for those that answer.
    """

    def __init__(self, at_once: int, unproven: int, slow: int) -> None:
        self._at_once = at_once
        self._most_unproven, self._most_slow = unproven, slow
        self._hosts: dict[str, _Host] = {}
        self._under_way: dict[Kind, int] = {"quick": 0, "unknown": 0, "slow": 0}

    def enter(self, url: str) -> float:
        """See `Gate.enter`."""
        now = time.monotonic()
        if len(self._hosts) >= _REMEMBERED:
            self._hosts = {k: h for k, h in self._hosts.items() if h.under_way or h.quiet_until > now}
        host = self._hosts.setdefault(_key(url), _Host())
        if host.quiet_until > now:
            return host.quiet_until - now + random.uniform(0.0, 1.0)
        if host.under_way >= (1 if host.failures else self._at_once):
            return math.inf if host.seconds < _QUICK else host.seconds * random.uniform(0.5, 1.5)
        if not self._room(host.kind):
            return max(_QUICK, host.seconds) * random.uniform(0.5, 1.5)
        host.under_way += 1
        self._under_way[host.kind] += 1
        return 0.0

    def _room(self, kind: Kind) -> bool:
        unproven = self._under_way["unknown"] + self._under_way["slow"] < self._most_unproven
        match kind:
            case "quick":
                return True
            case "unknown":
                return unproven
            case "slow":
                return unproven and self._under_way["slow"] < self._most_slow

    def leave(self, url: str) -> None:
        """See `Gate.leave`."""
        host = self._hosts[_key(url)]
        host.under_way -= 1
        self._under_way[host.kind] -= 1

    def is_quick(self, url: str) -> bool:
        """Whether the host is known to answer soon."""
        return self._hosts[_key(url)].kind == "quick"

    def answered(self, url: str, seconds: float, *, well: bool) -> None:
        """Note that a host answered after so many seconds, or did not: while it does not, it is tried by one delivery
        at a time."""
        host = self._hosts[_key(url)]
        self._under_way[host.kind] -= host.under_way
        host.seconds = seconds if host.seconds < 0 else host.seconds + _WEIGHT * (seconds - host.seconds)
        if well:
            host.failures, host.quiet_until = 0, 0.0
        else:
            host.failures += 1
            pause = backoff(host.failures, _FIRST_QUIET, _LONGEST_QUIET)
            host.quiet_until = max(host.quiet_until, time.monotonic() + pause)
        self._under_way[host.kind] += host.under_way


def _key(url: str) -> str:
    return urlsplit(url).netloc.lower()
