"""What becomes of a notification after an attempt: a pure function of what happened and how long it has been tried."""

import random
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

_TRY_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class PushPolicy:
    """How notifications are sent. Durations are seconds."""

    give_up: float = 24 * 3600.0
    """How old a notification may get before a failed attempt is its last."""
    attempt: float = 12.0
    """How long one attempt may take, from resolving the name to the status line."""
    lease: float = 30.0
    """How long a sender that says nothing keeps a notification; longer than an attempt."""
    first_pause: float = 1.0
    longest_pause: float = 300.0
    refusals: int = 5
    """Attempts that a receiver may refuse with a client error before the notification is given up."""
    longest_retry_after: float = 3600.0
    at_once: int = 256
    """Deliveries of this process under way together …"""
    at_once_unproven: int = 192
    """… of which so many to receivers that are not known to answer quickly …"""
    at_once_slow: int = 128
    """… and so many to those that are known not to, or not to answer at all."""
    at_once_per_host: int = 4
    poll: float = 0.5
    """How soon a notification is noticed of which nobody says anything: a retry, or what a lost process left."""
    remember_failures: float = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: with a status, or without an answer for a reason.

    `final` says that trying again cannot help (the URL is refused); `reason` never holds a secret or anything
    that the receiver wrote.
    """

    status: int = 0
    reason: str = ""
    retry_after: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`delivered`; `retry` in `pause` seconds; `give_up` (with `old`: all that is too old of the same
    configuration too); `stop` sending to this configuration."""

    kind: Literal["delivered", "retry", "give_up", "stop"]
    reason: str = ""
    pause: float = 0.0
    old: bool = False


def decide(outcome: Outcome, attempts: int, age: float, now: float, policy: PushPolicy) -> Decision:
    """The decision after attempt number `attempts` on a notification `age` seconds old."""
    status = outcome.status
    if 200 <= status < 300:
        return Decision("delivered")
    reason = outcome.reason or _words(status)
    if status == HTTPStatus.GONE:
        return Decision("stop", reason)
    if outcome.final:
        return Decision("give_up", reason)
    refused = 300 <= status < 500 and status not in _TRY_LATER
    if refused and attempts >= policy.refusals:
        return Decision("give_up", f"{reason}, {attempts} times")
    if age >= policy.give_up:
        return Decision("give_up", f"{reason}; tried for {age / 3600:.1f} hours", old=True)
    pause = backoff(attempts, policy.first_pause, policy.longest_pause)
    asked = min(_seconds(outcome.retry_after, now), policy.longest_retry_after)
    return Decision("retry", reason, max(pause, asked))


def backoff(attempts: int, first: float, longest: float) -> float:
    """Seconds to wait after that many attempts: exponential with full jitter, never less than a tenth of the first."""
    ceiling = min(longest, first * 2.0 ** min(attempts - 1, 30))
    return random.uniform(first / 10, ceiling)


def _words(status: int) -> str:
    if 300 <= status < 400:
        return f"the receiver answered {status}; redirects are not followed"
    return f"the receiver answered {status}"


def _seconds(retry_after: str, now: float) -> float:
    """What a Retry-After header (RFC 9110, 10.2.3) asks for; 0 when there is none or it makes no sense."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0.0
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
