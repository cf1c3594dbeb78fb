"""How the versions of an agent do: what a host tells of each, from the store that all its replicas share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SAMPLE = 1000
"""Most values of one kind in the figures of a version: the newest."""
_MOST = 10**9
"""Tasks that a count may tell of at most."""
FAILURES = ("failed", "rejected", "error")
"""How a task ends that went wrong; "error" is one that was refused with a protocol error."""


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """One version. What ended, durations and metrics are those of the last `window` seconds that were asked for."""

    version: str
    workers: int = 0
    """Live workers that host it."""
    working: int = 0
    """Tasks with work that waits or runs …"""
    interrupted: int = 0
    """… and those that wait for their client's answer; together they are the open ones."""
    contexts: int = 0
    """Contexts with an open task."""
    ended: Mapping[str, int] = field(default_factory=dict)
    """How many tasks ended in which state: completed, failed, canceled, rejected, message (answered without a task), error."""
    durations: Sequence[float] = ()
    """Seconds from the acceptance of a task to its end, of the newest that completed."""
    metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """The newest values of each metric that executors reported, one a task."""

    @property
    def open(self) -> int:
        """Tasks that have not ended."""
        return self.working + self.interrupted

    @property
    def judged(self) -> int:
        """Tasks that ended and count: all but those that their clients canceled."""
        return sum(count for state, count in self.ended.items() if state != "canceled")

    @property
    def failed(self) -> int:
        """Those of them that went wrong."""
        return sum(self.ended.get(state, 0) for state in FAILURES)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def figures_json(of: VersionFigures) -> dict[str, Any]:
    """The figures as JSON."""
    return {
        "version": of.version,
        "workers": of.workers,
        "open": of.open,
        "working": of.working,
        "interrupted": of.interrupted,
        "contexts": of.contexts,
        "ended": dict(of.ended),
        "duration": _spread(of.durations),
        "metrics": {name: _spread(values) for name, values in sorted(of.metrics.items())},
    }


def figures_from(told: Mapping[str, Any]) -> VersionFigures:
    """The figures that `figures_json` made. Raises KeyError, TypeError, ValueError or AttributeError for what it did not make:
    who reads the figures of somebody else's host is kept busy no longer by wrong ones than by right ones."""
    return VersionFigures(
        str(told["version"]),
        _count(told["workers"]),
        _count(told["working"]),
        _count(told["interrupted"]),
        _count(told["contexts"]),
        {str(state): _count(count) for state, count in told["ended"].items()},
        _values(told["duration"]),
        {str(name): _values(one) for name, one in told["metrics"].items()},
    )


def _count(told: Any) -> int:
    if not isinstance(told, int) or not 0 <= told <= _MOST:
        raise ValueError(f"{told!r:.40} is no number of tasks")
    return told


def _values(told: Mapping[str, Any]) -> tuple[float, ...]:
    found = tuple(map(float, told["values"][:SAMPLE]))
    if not all(map(math.isfinite, found)):
        raise ValueError("a value is not a finite number")
    return found


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "sample": len(values),
        "mean": math.fsum(values) / len(values) if values else None,
        "p50": quantile(values, 0.5),
        "p95": quantile(values, 0.95),
        "values": list(values),
    }
