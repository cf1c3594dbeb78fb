"""Who goes next on one SQLite file: priorities, the tenants' shares, the quota and the bound of the backlog.

Start-time fair queueing within a version and priority: what has to wait gets a rank one step (1 / its tenant's weight)
behind its tenant's last, but not before the clock, which is the highest rank taken so far; the lowest rank goes first.
So a tenant that has had nothing starts level with the others, and nobody saves up. Entries that end without being run
give their step back. What is taken as it is accepted, because nothing waits, has no rank.

The quota is a token bucket, one for the file; all that read it hold the file's write lock.
"""

import json
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from parley_runtime.store import HIGHEST, Limits, NewMessage, Overloaded, QueueState, Taken, Work
from parley_runtime.stores.sqlite import statements as sql

CANCEL = HIGHEST + 1
"""Priority under which requests to cancel wait: before everything, and outside quota and backlog."""
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """The limits as they are in this transaction, and whether entries of a version are ready to be taken."""

    rate: float
    burst: int
    backlog: int
    weights: str
    tokens: float
    at: float
    ready: int

    def left(self, now: float) -> float:
        """Executions that the quota allows now."""
        return _left(self.rate, self.burst, self.tokens, self.at, now)


class _Ready(NamedTuple):
    priority: int
    rank: float
    ahead: float
    accepted: float
    task_id: str
    number: int
    expires: float | None
    tenant: str
    version: str


def look(c: sqlite3.Connection, version: str) -> Schedule:
    """The schedule as it is now."""
    return Schedule(*c.execute(sql.SCHEDULE, (version,)).fetchone())


def free(schedule: Schedule, now: float) -> bool:
    """Whether a newcomer may be run at once: nobody waits, and the quota has one left."""
    return not schedule.ready and (not schedule.rate or schedule.left(now) >= 1)


def spend(c: sqlite3.Connection, schedule: Schedule, count: int, now: float) -> None:
    """Use up some of the quota, if there is one."""
    if schedule.rate and count:
        c.execute(sql.SPEND, (schedule.left(now) - count, now))


def full(c: sqlite3.Connection, schedule: Schedule) -> bool:
    """Whether the backlog takes no more."""
    return bool(schedule.backlog) and c.execute(sql.WAITING).fetchone()[0] >= schedule.backlog


def overloaded(schedule: Schedule) -> Overloaded:
    """The refusal of a message: when it may find a place is when the next one has been taken."""
    wait = min(_LONGEST_WAIT, 1 / schedule.rate) if schedule.rate else 1.0
    return Overloaded(
        f"the agent's backlog is full ({schedule.backlog} messages wait); send the same message again later",
        max(1.0, wait),
    )


def rank(c: sqlite3.Connection, schedule: Schedule, m: NewMessage, version: str) -> float:
    """The place of a message that has to wait; its tenant is charged for it."""
    clock, last = c.execute(sql.LAST_RANK, (version, m.priority, m.tenant)).fetchone()
    step = 1 / _weights(schedule.weights).get(m.tenant, 1.0)
    place: float = clock or 0.0
    if last is not None:
        place = max(place, last + step)
    c.execute(sql.CHARGE, (version, m.priority, m.tenant, place, step))
    return place


def glance(c: sqlite3.Connection, version: str, now: float) -> Taken | None:
    """What `take` would say without taking anything; None when there may be something to take."""
    if (
        c.execute(sql.ANY_READY, (version,)).fetchone() is None
        and c.execute(sql.ORPHANS, (version, now)).fetchone() is None
    ):
        return Taken()
    schedule = look(c, "")
    left = schedule.left(now)
    if schedule.rate and left < 1 and c.execute(sql.ANY_CANCEL).fetchone() is None:
        return Taken((), (1 - left) / schedule.rate)
    return None


def take(c: sqlite3.Connection, worker: str, version: str, limit: int, now: float) -> Taken:
    """See Store.take."""
    schedule = look(c, version)
    left = schedule.left(now) if schedule.rate else limit
    passed: dict[tuple[str, int], float] = {}
    taken: list[Work] = []
    spent, wait = 0, 0.0
    for entry in _ready(c, version, limit, now):
        expired = entry.expires is not None and entry.expires <= now
        if expired:
            c.execute(sql.REFUND, (entry.version, entry.priority, entry.tenant))
        elif entry.priority != CANCEL:
            if left - spent < 1:
                wait = (1 - (left - spent)) / schedule.rate
                break
            spent += 1
            passed[entry.version, entry.priority] = entry.rank
        epoch, owner, context_id = c.execute(sql.NEXT_EPOCH, (entry.task_id,)).fetchone()
        taken.append(lease(c, worker, now, entry.task_id, entry.number, epoch, owner, context_id, expired))
    spend(c, schedule, spent, now)
    for (of_version, priority), reached in passed.items():
        c.execute(sql.ADVANCE_CLOCK, (of_version, priority, reached))
    return Taken(taken, wait)


def take_expired(c: sqlite3.Connection, worker: str, limit: int, now: float) -> list[Work]:
    """See Store.take_expired."""
    taken = []
    for task_id, number, *share in c.execute(sql.EXPIRED, (now, limit)).fetchall():
        c.execute(sql.REFUND, share)
        epoch, owner, context_id = c.execute(sql.NEXT_EPOCH, (task_id,)).fetchone()
        taken.append(lease(c, worker, now, task_id, number, epoch, owner, context_id, True))
    return taken


def lease(
    c: sqlite3.Connection,
    worker: str,
    now: float,
    task_id: str,
    number: int,
    epoch: int,
    owner: str,
    context_id: str,
    expired: bool = False,
) -> Work:
    """Have a worker hold an entry under an epoch."""
    row = c.execute(sql.LEASE, (worker, now, task_id, number)).fetchone()
    kind, version, attempt, request, traceparent, accepted, priority = row
    return Work(
        task_id,
        context_id,
        owner,
        number,
        kind,
        version,
        request,
        traceparent,
        epoch,
        attempt,
        accepted,
        priority=priority,
        expired=expired,
    )


def limits(c: sqlite3.Connection) -> Limits:
    """The limits as set."""
    concurrency, rate, burst, backlog, weights = c.execute(sql.LIMITS).fetchone()
    return Limits(concurrency, rate, burst, backlog, _weights(weights))


def set_limits(c: sqlite3.Connection, new: Limits, now: float) -> None:
    """Change the limits. What is left of the quota stays, up to the new burst; a new quota begins with its burst."""
    old = look(c, "")
    left = min(old.left(now), new.burst) if old.rate else new.burst
    weights = json.dumps(dict(new.weights), sort_keys=True)
    c.execute(sql.SET_LIMITS, (new.concurrency, new.rate, new.burst, new.backlog, weights, left, now))


def queue_state(c: sqlite3.Connection, now: float) -> QueueState:
    """How much waits and runs."""
    running, oldest, rate, burst, tokens, at = c.execute(sql.QUEUE_STATE).fetchone()
    waiting = dict(c.execute(sql.BY_PRIORITY).fetchall())
    left = _left(rate, burst, tokens, at, now) if rate else None
    return QueueState(sum(waiting.values()), running, now - oldest if oldest else 0.0, waiting, left)


def _ready(c: sqlite3.Connection, version: str, limit: int, now: float) -> list[_Ready]:
    versions = [version, *(row[0] for row in c.execute(sql.ORPHANS, (version, now)))]
    entries = [_Ready(*row) for one in versions for row in c.execute(sql.READY, (one, limit))]
    if len(versions) > 1:  # each has a clock of its own
        entries.sort(key=lambda entry: (-entry.priority, entry.ahead, entry.accepted))
    return entries[:limit]


def _left(rate: float, burst: int, tokens: float, at: float, now: float) -> float:
    """A little more than computed, so that whoever waited as long as it was told finds a whole token."""
    return min(float(burst), tokens + rate * max(0.0, now - at) + 1e-9)


@lru_cache(maxsize=16)
def _weights(text: str) -> dict[str, float]:
    return dict(json.loads(text))
