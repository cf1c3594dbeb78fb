"""The receivers' hosts: how many deliveries are under way to each, and which are left in peace for a while."""

import math
import random
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from parley_runtime.push.policy import backoff

_FIRST_QUIET = 0.5
_LONGEST_QUIET = 60.0
_REMEMBERED = 4096
_QUICK = 0.5
"""Seconds within which a host answers, on average, that is proven to be quick."""
_WEIGHT = 0.3
"""How much the last answer counts in that average."""


@dataclass(slots=True)
class _Host:
    under_way: int = 0
    unproven: int = 0
    """Of those under way, how many began before it was proven, or while it was slow."""
    failures: int = 0
    quiet_until: float = 0.0
    seconds: float = -1.0
    """How long it takes to answer, on average; less than 0 before the first answer."""

    @property
    def proven(self) -> bool:
        return 0 <= self.seconds < _QUICK and not self.failures


class Hosts:
    """A `Gate`: at most `at_once` deliveries to a host, none for a moment after it did not answer, and at most `unproven`
    together to hosts that are slow or of which nothing is known.

    So however many receivers are dead or slow, there are always places for those that answer.
    """

    def __init__(self, at_once: int, unproven: int) -> None:
        self._at_once = at_once
        self._most_unproven = unproven
        self._unproven = 0
        self._hosts: dict[str, _Host] = {}

    def enter(self, url: str) -> float:
        """See `Gate.enter`."""
        now = time.monotonic()
        if len(self._hosts) >= _REMEMBERED:
            self._hosts = {k: h for k, h in self._hosts.items() if h.under_way or h.quiet_until > now}
        host = self._hosts.setdefault(_key(url), _Host())
        if host.quiet_until > now:
            return host.quiet_until - now + random.uniform(0.0, 1.0)
        proven = host.proven
        if host.under_way >= (1 if host.failures else self._at_once):
            return math.inf if host.seconds < _QUICK else host.seconds * random.uniform(0.5, 1.5)
        if not proven and self._unproven >= self._most_unproven:
            return max(_QUICK, host.seconds) * random.uniform(0.5, 1.5)
        host.under_way += 1
        if not proven:
            host.unproven += 1
            self._unproven += 1
        return 0.0

    def leave(self, url: str) -> None:
        """See `Gate.leave`."""
        host = self._hosts[_key(url)]
        host.under_way -= 1
        if host.unproven > host.under_way or (host.unproven and host.proven):
            host.unproven -= 1
            self._unproven -= 1

    def answered(self, url: str, seconds: float, *, well: bool) -> None:
        """Note that a host answered after so many seconds, or did not: while it does not, it is tried by one delivery
        at a time."""
        host = self._hosts[_key(url)]
        host.seconds = seconds if host.seconds < 0 else host.seconds + _WEIGHT * (seconds - host.seconds)
        if well:
            host.failures, host.quiet_until = 0, 0.0
        else:
            host.failures += 1
            pause = backoff(host.failures, _FIRST_QUIET, _LONGEST_QUIET)
            host.quiet_until = max(host.quiet_until, time.monotonic() + pause)


def _key(url: str) -> str:
    return urlsplit(url).netloc.lower()
