"""What to do with notifications that are due: a pure function of what they are and what the gate says."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from parley_runtime.push.outbox import Gate

FIRST_PAGE = 32
LAST_PAGE = 512
"""Due notifications that are looked at together, at first and at most."""
PARKED = 3600.0
"""Seconds for which one that waits behind another is put aside, unless its turn comes."""


@dataclass(frozen=True, slots=True)
class Due:
    """A due notification: the URL of its configuration (None: deleted, "": stopped), and the first pending one of its
    task and configuration."""

    id: int
    url: str | None
    head: int


@dataclass(slots=True)
class Plan:
    """Which to take (places of the gate are held for them), to park behind another, to put off by so many seconds, and
    to drop."""

    take: list[tuple[int, str]] = field(default_factory=list)
    park: list[int] = field(default_factory=list)
    put_off: list[tuple[int, float]] = field(default_factory=list)
    drop: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.take or self.park or self.put_off or self.drop)

    def leave(self, gate: Gate, taken: Sequence[int]) -> None:
        """Give back the places of those that were not `taken` after all."""
        for row_id, url in self.take:
            if row_id not in taken:
                gate.leave(url)


def plan(rows: Sequence[Due], limit: int, gate: Gate, *, crowded: bool) -> Plan:
    """The plan for due rows. `crowded`: they fill the largest page, so those of busy receivers, which would else stay
    where they are, are put off too: they hide others."""
    made = Plan()
    for row in rows:
        if not row.url:
            made.drop.append(row.id)
        elif row.id != row.head:
            made.park.append(row.id)
        elif len(made.take) < limit:
            wait = gate.enter(row.url)
            if wait == 0:
                made.take.append((row.id, row.url))
            elif wait < math.inf:
                made.put_off.append((row.id, wait))
            elif crowded:
                made.put_off.append((row.id, random.uniform(1.0, 3.0)))
    return made
