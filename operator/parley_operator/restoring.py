"""A rollout table that the registry has lost, written again from what the versions' statuses say of it. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from parley_operator.decision import Event
from parley_operator.resources.agent import RolloutState
from parley_operator.resources.conditions import stamp
from parley_operator.versions import Version
from parley_registry.client import Rollout, RolloutVersion

LOST = (
    "TableLost",
    "the registry has lost the rollout table; it is written again as soon as the versions have published their cards again",
)
_GOING = ("Stepping", "Paused")


@dataclass(frozen=True, slots=True)
class Restored:
    """The table as it was, or as it is while that cannot be written yet, and where the rollout stands."""

    table: Rollout
    state: RolloutState
    events: tuple[Event, ...] = ()


def is_lost(table: Rollout, versions: Sequence[Version]) -> bool:
    """Whether there is no table though there was one: a person empties none, only a registry that lost its data does."""
    return not table.versions and any(one.status.state == "Current" for one in versions)


def restored(
    table: Rollout, versions: Sequence[Version], published: Collection[str], state: RolloutState, now: float
) -> Restored:
    """The lost table again, once the versions in it have published themselves again: weights and a pause as they were.

    A canary that takes no calls any more is not waited for: it begins anew when its pods are there."""
    current = next(one for one in versions if one.status.state == "Current")
    canary = next((one for one in versions if one.status.state == "Ramping"), None)
    if canary is not None and canary.version not in published and not canary.available:
        anew = {"phase": "Waiting", "step": -1, "step_started": "", "first_step": "", "unavailable": ""}
        if state.version == canary.version:
            state = state.model_copy(
                update=anew
                | {"started": stamp(now), "message": "waits for its pods", "looks": 0, "judged": 0}
            )
        canary = None
    if current.version not in published or (canary is not None and canary.version not in published):
        return Restored(table, state)
    share = canary.status.weight if canary is not None else 0.0
    rows = [RolloutVersion(current.version, "Current", round(100.0 - share, 2))]
    if canary is not None:
        rows.append(RolloutVersion(canary.version, "Ramping", share))
    drained = sorted(
        (one for one in versions if one.status.state in ("Draining", "Drained") and one.version in published),
        key=lambda one: one.status.drained_at or one.status.draining_since or "",
        reverse=True,
    )
    rows += [RolloutVersion(one.version, one.status.state) for one in drained]
    paused = canary is not None and state.phase == "Paused"
    shares = ", ".join(f"{one.version} {one.weight:g} %" for one in rows if one.weight)
    said = f"the registry had lost the rollout table; it is as it was again: {shares}{' (paused)' if paused else ''}"
    return Restored(
        replace(table, versions=tuple(rows), paused=paused), state, (Event("Warning", "TableRestored", said),)
    )
