"""Whether a canary does worse than the current version: a verdict with its figures, and reasons in words. Pure.

Each rule asks for evidence that the canary is worse, by Fisher's exact test (one-sided) on counts of the two versions:
- `failure-rate`: how many of the tasks that ended went wrong.
- `p95`: how many of the completed tasks lasted longer than 95 % of both versions' together do. The canary's durations
  are divided by 1 + `tolerance` before, so that it may be that much slower.
- `metric:NAME:lower` and `metric:NAME:higher` (which is the better): how many values are on the wrong side of the median
  of both versions' together.

When the versions are alike, the chance that any of the rules finds the canary worse is at most `level`: each gets an equal
part. Looking again and again would add up; `level_of_look` is what the n-th look may spend so that all together keep it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from parley_registry.errors import BadRequest
from parley_registry.rollouts.figures import VersionFigures, quantile

Verdict = Literal["Pass", "Fail", "Inconclusive"]
Better = Literal["lower", "higher"]

LEVEL = 0.01
MINIMUM = 20
TOLERANCE = 0.2
DEFAULT_RULES = ("failure-rate", "p95")


@dataclass(frozen=True, slots=True)
class Terms:
    """What an analysis goes by. `rules` are named as in the module's text; `minimum` is how many values of either version
    a rule needs for a verdict."""

    rules: tuple[str, ...] = DEFAULT_RULES
    level: float = LEVEL
    minimum: int = MINIMUM
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says. `p` is the chance of such counts when the versions are alike; None without a test."""

    rule: str
    verdict: Verdict
    reason: str
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What all rules say: Fail when one does, else Inconclusive when one is, else Pass."""

    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The verdict of all; without rules Pass."""
        for worst in ("Fail", "Inconclusive"):
            if any(finding.verdict == worst for finding in self.findings):
                return worst
        return "Pass"

    @property
    def reasons(self) -> str:
        """The reasons for the verdict, in one line."""
        return "; ".join(one.reason for one in self.findings if one.verdict == self.verdict)


def check_terms(terms: Terms) -> Terms:
    """The same. Raises BadRequest for a rule that there is not, or a number out of its range."""
    for rule in terms.rules:
        kind, _, rest = rule.partition(":")
        name, _, better = rest.rpartition(":")
        if rule not in DEFAULT_RULES and not (kind == "metric" and name and better in ("lower", "higher")):
            raise BadRequest(
                f"{rule!r} is no rule of an analysis; there are failure-rate, p95, metric:NAME:lower and "
                "metric:NAME:higher"
            )
    if not 0 < terms.level < 1:
        raise BadRequest("the level of an analysis is a chance: more than 0, less than 1")
    if terms.minimum < 1 or not 0 <= terms.tolerance < math.inf:
        raise BadRequest("the minimum sample of an analysis is 1 or more, its tolerance 0 or more")
    return terms


def level_of_look(level: float, look: int) -> float:
    """What the look of that number (from 1) may spend of `level`; all looks together never spend more."""
    return level / (look * (look + 1))


def analyse(current: VersionFigures, canary: VersionFigures, terms: Terms) -> Analysis:
    """What the figures of a canary say beside those of the current version."""
    return Analysis(tuple(_finding(rule, current, canary, terms) for rule in terms.rules))


def worse(bad: int, of: int, bad_there: int, of_there: int) -> float:
    """The chance of at least `bad` among `of` when both groups are alike and `bad + bad_there` are bad of all (Fisher's
    exact test, one-sided)."""
    wrong, total = bad + bad_there, of + of_there
    least, most = max(0, wrong - of_there), min(wrong, of)
    if bad <= least:
        return 1.0
    scale = _choices(total, of)

    def chances(counts: Iterable[int]) -> Iterator[float]:
        return (math.exp(_choices(wrong, k) + _choices(total - wrong, of - k) - scale) for k in counts)

    likeliest = (of + 1) * (wrong + 1) // (total + 2)
    if bad > likeliest:
        return min(1.0, _falling(chances(range(bad, most + 1))))
    return max(0.0, 1.0 - _falling(chances(range(bad - 1, least - 1, -1))))


def _falling(chances: Iterable[float]) -> float:
    """The sum of chances that get ever smaller, up to where they do not count any more: of millions that is soon."""
    found = 0.0
    for one in chances:
        found += one
        if one <= found * 1e-17:
            break
    return found


def _choices(of: int, take: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(take + 1) - math.lgamma(of - take + 1)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What a rule tests: `bad` of `of` of each, and what was counted."""

    canary: tuple[int, int]
    current: tuple[int, int]
    what: str
    said: str


def _finding(rule: str, current: VersionFigures, canary: VersionFigures, terms: Terms) -> Finding:
    counts = _counts(rule, current, canary, terms)
    few = [
        f"{version} has {of}"
        for version, (_, of) in ((canary.version, counts.canary), (current.version, counts.current))
        if of < terms.minimum
    ]
    if few:
        return Finding(
            rule,
            "Inconclusive",
            f"{rule}: {' and '.join(few)} of the {terms.minimum} {counts.what} that it takes",
        )
    p = worse(*counts.canary, *counts.current)
    least = terms.level / len(terms.rules)
    verdict: Verdict = "Fail" if p < least else "Pass"
    compared = f"p = {p:.2g}, {'below' if p < least else 'not below'} {least:.2g}"
    return Finding(rule, verdict, f"{rule}: {counts.said} ({compared})", p)


def _counts(rule: str, current: VersionFigures, canary: VersionFigures, terms: Terms) -> _Counts:
    if rule == "failure-rate":
        return _Counts(
            (canary.failed, canary.judged),
            (current.failed, current.judged),
            "ended tasks",
            f"{canary.version} failed {_share(canary.failed, canary.judged)}, "
            f"{current.version} {_share(current.failed, current.judged)}",
        )
    if rule == "p95":
        slowed = [seconds / (1 + terms.tolerance) for seconds in canary.durations]
        return _Counts(
            *_beyond(slowed, current.durations, 0.95),
            "completed tasks",
            f"95 % of {canary.version} took up to {_seconds(canary.durations)}, "
            f"of {current.version} up to {_seconds(current.durations)}",
        )
    _, _, rest = rule.partition(":")
    name, _, better = rest.rpartition(":")
    ours, theirs = canary.metrics.get(name, ()), current.metrics.get(name, ())
    sign = 1.0 if better == "lower" else -1.0
    return _Counts(
        *_beyond([sign * one for one in ours], [sign * one for one in theirs], 0.5),
        f"values of {name}",
        f"the median of {name} is {_median(ours)} of {canary.version}, {_median(theirs)} of {current.version}",
    )


def _beyond(
    ours: Sequence[float], theirs: Sequence[float], share: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of each, how many are above the quantile of both together, and how many there are."""
    edge = quantile([*ours, *theirs], share)
    if edge is None:
        return (0, 0), (0, 0)
    first, second = (sum(one > edge for one in values) for values in (ours, theirs))
    return (first, len(ours)), (second, len(theirs))


def _share(bad: int, of: int) -> str:
    return f"{bad} of {of} ({bad / of:.1%})" if of else "0 of 0"


def _seconds(values: Sequence[float]) -> str:
    return f"{quantile(values, 0.95) or 0.0:.3g} s"


def _median(values: Sequence[float]) -> str:
    return f"{quantile(values, 0.5) or 0.0:.4g}"
