"""Which faults a campaign does, and when: a pure function of its seed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEASE = 2.0
"""Seconds of a worker's lease in a campaign."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`what` is done to `whom` at `at`, and undone `lasts` seconds later (a killed process is started again)."""

    at: float
    what: str
    whom: str
    lasts: float

    def __str__(self) -> str:
        return f"{self.at:7.2f} s: {self.what} {self.whom} for {self.lasts:.2f} s"


# How often each fault is done relative to others, and how long it lasts.
_FAULTS: Mapping[str, tuple[int, float, float]] = {
    "kill": (5, 0.1, 2.0),  # kill -9, then started again
    "hang": (3, 1.3 * LEASE, 3 * LEASE),  # SIGSTOP, then SIGCONT: longer than its lease
    "term": (3, 0.1, 2.0),  # SIGTERM, awaited, then started again
    "cut": (2, 0.3, 2 * LEASE),
    "black": (2, 0.5, 3 * LEASE),
    "slow": (1, 1.0, 4.0),
    "kill-server": (1, 0.2, 4.0),
}


def plan(
    seed: int,
    seconds: float,
    faults: int,
    *,
    replicas: Sequence[str],
    links: Sequence[str] = (),
    servers: Sequence[str] = (),
    only: Sequence[str] = (),
) -> list[Fault]:
    """`faults` faults over `seconds`, in order of time. The same arguments give the same plan.

    `replicas`, `links` and `servers` are the names of what can be hurt; `only` narrows the kinds of faults.
    """
    dice = random.Random(f"faults-{seed}")
    whom = {
        "kill": replicas,
        "hang": replicas,
        "term": replicas,
        "cut": links,
        "black": links,
        "slow": links,
        "kill-server": servers,
    }
    kinds = [kind for kind in _FAULTS if whom[kind] and (not only or kind in only)]
    weights = [_FAULTS[kind][0] for kind in kinds]
    made = []
    for _ in range(faults):
        [kind] = dice.choices(kinds, weights)
        _, least, most = _FAULTS[kind]
        made.append(
            Fault(dice.uniform(1.0, seconds), kind, dice.choice(whom[kind]), dice.uniform(least, most))
        )
    return sorted(made, key=lambda fault: fault.at)
