"""What becomes of versions that get no new contexts: they drain, are kept for a while without pods, and go. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from parley_operator.decision import Event
from parley_operator.judging import Figures
from parley_operator.resources.base import seconds
from parley_operator.resources.conditions import clock, unclock
from parley_operator.resources.rollout import RolloutPolicy
from parley_operator.resources.version import AgentVersionStatus
from parley_operator.versions import Version
from parley_registry.client import Rollout, RolloutVersion, shifting

SETTLED = 3.0
"""Seconds after which no front gives a new context to a version whose share was taken away."""
COUNTED = 5.0
"""Seconds for which a count of tasks stands in a status: a status that changed with every task would be written all day."""


@dataclass(frozen=True, slots=True)
class Wound:
    """The table after it was seen what has drained, and the statuses of versions, by AgentVersion's name."""

    table: Rollout
    statuses: Mapping[str, AgentVersionStatus]
    events: tuple[Event, ...] = ()


def wind_down(
    table: Rollout,
    versions: Iterable[Version],
    figures: Figures | None,
    policy: RolloutPolicy,
    now: float,
    *,
    held: frozenset[str],
    published: frozenset[str],
    known: frozenset[str],
) -> Wound:
    """Follow the versions that drain, up to their end. `held` are those that are to get a share although the table does
    not say so yet, `published` those that the registry knows, `known` those that there is an AgentVersion of.

    One that is Inactive in the table, and not held, was moved: the hosts have the current version go on with its contexts.
    """
    statuses: dict[str, AgentVersionStatus] = {}
    events: list[Event] = []
    rows = {one.version: one for one in table.versions}
    for one in versions:
        row = rows.get(one.version)
        status = _counted(one, figures, now)
        state = row.state if row else ("Inactive" if status.state == "Inactive" else "Drained")
        update: dict[str, Any] = {"state": state, "weight": row.weight if row else 0.0}
        if state in ("Current", "Ramping") or (one.version in held and state != "Draining"):
            update |= {"draining_since": None, "idle_since": None, "drained_at": None, "moved": False}
            if row is None:
                update["state"] = "Inactive"
        elif one.version in held:
            update |= {"idle_since": None, "drained_at": None, "moved": False}
        elif row is not None and row.state == "Drained":
            idle = _rests_since(one, status, figures, now)
            update |= {"drained_at": status.drained_at or clock(now), "idle_since": idle}
        elif status.drained_at is None or (row is not None and row.state == "Draining"):
            if status.drained_at is not None:  # it drains once more: somebody had given it a share meanwhile
                anew = {"draining_since": None, "idle_since": None, "drained_at": None, "moved": False}
                status = status.model_copy(update=anew)
            # What never was published and takes no calls has no tasks, though nobody can be asked.
            unborn = row is None and one.version not in published and not one.available
            tasks = 0 if unborn else _open(one.version, figures)
            end, dates = _winding(status, tasks, policy, now)
            update |= dates | ({"moved": True} if row is not None and row.state == "Inactive" else {})
            if end:
                table, told = _ended(table, row, end)
                events += told
                update |= _after(row, end)
        statuses[one.name] = status.model_copy(update=update)
    table, told = _orphans(table, rows, known, figures)
    return Wound(table, statuses, (*events, *told))


def has_rested(status: AgentVersionStatus, policy: RolloutPolicy, now: float) -> bool:
    """Whether a version has had nothing to do for so long that its pods may go."""
    return status.idle_since is not None and now - unclock(status.idle_since) >= _rest(policy)


def expired(
    table: Rollout, versions: Iterable[Version], statuses: Mapping[str, AgentVersionStatus], limit: int
) -> tuple[Version, ...]:
    """Versions beyond the history limit, those that drained first; and those that never had a context at all, which is all of
    them as long as there is no table."""
    in_table = {one.version for one in table.versions}
    over = [one for one in versions if statuses[one.name].drained_at and not one.pods and not one.replicas]
    never = [
        one
        for one in over
        if statuses[one.name].state == "Inactive"
        and not statuses[one.name].moved
        and one.version not in in_table
    ]
    kept = sorted(
        (one for one in over if one not in never),
        key=lambda one: (statuses[one.name].drained_at or "", one.name),
        reverse=True,
    )
    return (*never, *(kept[limit:] if in_table else ()))


def _winding(
    status: AgentVersionStatus, tasks: int | None, policy: RolloutPolicy, now: float
) -> tuple[str, dict[str, str | None]]:
    """How the draining ended ("" not yet, "idle" or "expired"), and its dates."""
    since = status.draining_since or clock(now)
    idle = (status.idle_since or clock(now)) if tasks == 0 else None
    dates: dict[str, str | None] = {"draining_since": since, "idle_since": idle}
    if idle is not None and now - unclock(idle) >= _rest(policy):
        return "idle", dates | {"drained_at": clock(now)}
    if now - unclock(since) >= seconds(policy.drain.deadline):
        return "expired", dates | {"drained_at": clock(now), "idle_since": None}
    return "", dates


def _rest(policy: RolloutPolicy) -> float:
    return max(SETTLED, seconds(policy.drain.idle))


def _rests_since(one: Version, status: AgentVersionStatus, figures: Figures | None, now: float) -> str | None:
    """Since when a drained version, whose pods a message in an old context has brought back, has nothing to do again."""
    if figures is None:
        return status.idle_since
    working = figures[one.version].working if one.version in figures else 0
    return None if working or not one.replicas else status.idle_since or clock(now)


def _after(row: RolloutVersion | None, end: str) -> dict[str, Any]:
    """What a version's draining has left it as: one with a share of the table's time, drained or moved."""
    if row is None or row.state != "Draining":
        return {}
    return {"state": "Drained"} if end == "idle" else {"state": "Inactive", "moved": True, "drained_at": None}


def _ended(table: Rollout, row: RolloutVersion | None, end: str) -> tuple[Rollout, list[Event]]:
    """The table with a version drained, or moved; as it was for one whose end the table does not show."""
    if row is None or row.state != "Draining":
        return table, []
    if end == "idle":
        said = f"{row.version} has no open task any more; its pods are stopped"
        return shifting.drained(table, lambda version: version != row.version), [
            Event("Normal", "VersionDrained", said)
        ]
    said = f"the time for {row.version} to drain is over; {table.current} goes on with its contexts"
    rest = tuple(replace(one, state="Inactive") if one == row else one for one in table.versions)
    return replace(table, versions=rest), [Event("Warning", "DrainDeadline", said)]


def _orphans(
    table: Rollout, rows: Mapping[str, RolloutVersion], known: frozenset[str], figures: Figures | None
) -> tuple[Rollout, list[Event]]:
    """Versions that drain, of which there is neither an AgentVersion nor a worker: nobody would do what waits for them."""
    if figures is None:
        return table, []
    gone = [
        row.version
        for row in rows.values()
        if row.state not in ("Current", "Ramping")
        and row.version not in known
        and (row.version not in figures or not figures[row.version].workers)
    ]
    rest = tuple(row for row in table.versions if row.version not in gone)
    said = "there is nothing left of {}; the current version goes on with its contexts"
    return replace(table, versions=rest), [
        Event("Normal", "VersionRetired", said.format(version)) for version in gone
    ]


def _open(version: str, figures: Figures | None) -> int | None:
    if figures is None:
        return None
    return figures[version].open if version in figures else 0


def _counted(one: Version, figures: Figures | None, now: float) -> AgentVersionStatus:
    """Its status with the tasks counted now, unless that was done a moment ago."""
    status, tasks = one.status, _open(one.version, figures)
    if tasks is None:
        return status.model_copy(update={"active_tasks": None, "counted": None})
    fresh = status.counted is not None and now - unclock(status.counted) < COUNTED
    if status.active_tasks == tasks or (fresh and bool(status.active_tasks) == bool(tasks)):
        return status
    return status.model_copy(update={"active_tasks": tasks, "counted": clock(now)})
