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


@dataclass(slots=True)
class _Host:
    under_way: int = 0
    failures: int = 0
    quiet_until: float = 0.0


class Hosts:
    """A `Gate`: at most `at_once` deliveries to a host, and none for a moment after it did not answer.

    So a dead receiver costs a few places, never all of them, however many notifications wait for it.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._hosts: dict[str, _Host] = {}

    def enter(self, url: str) -> float:
        """See `Gate.enter`."""
        now = time.time()
        if len(self._hosts) >= _REMEMBERED:
            self._hosts = {k: h for k, h in self._hosts.items() if h.under_way or h.quiet_until > now}
        host = self._hosts.setdefault(_key(url), _Host())
        if host.quiet_until > now:
            return host.quiet_until + random.uniform(0.0, 1.0)
        if host.under_way >= (1 if host.failures else self._at_once):
            return math.inf
        host.under_way += 1
        return 0.0

    def leave(self, url: str) -> None:
        """See `Gate.leave`."""
        key = _key(url)
        host = self._hosts[key]
        host.under_way -= 1
        if not host.under_way and not host.failures:
            del self._hosts[key]

    def answered(self, url: str, well: bool) -> None:
        """Note that a host answered, or did not: while it does not, it is tried by one delivery at a time."""
        host = self._hosts[_key(url)]
        if well:
            host.failures, host.quiet_until = 0, 0.0
        else:
            host.failures += 1
            pause = backoff(host.failures, _FIRST_QUIET, _LONGEST_QUIET)
            host.quiet_until = max(host.quiet_until, time.time() + pause)


def _key(url: str) -> str:
    return urlsplit(url).netloc.lower()
