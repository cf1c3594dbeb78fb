"""How the share of a new version grows, and how it ends: from a rollout table, and where the rollout stands, to the next. Pure.

The table is the truth of what is: whoever changes it by hand (`parley rollout promote`, `abort`, `undo`) is followed. The
state, which is in the Agent's status, says what the operator is about. So that an operator may end between any two writes:
- a new target is written into the status before the table is touched for it, and so is that the steps have begun;
- a canary that fails loses its share in the table first; that it has failed is then seen from the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from parley_operator.decision import Event
from parley_operator.judging import Figures, judge
from parley_operator.observed import Check
from parley_operator.resources.agent import RolloutState
from parley_operator.resources.base import seconds
from parley_operator.resources.conditions import stamp, unclock
from parley_operator.resources.rollout import RolloutPolicy, Step
from parley_registry.client import Rollout, shifting

UNAVAILABLE = 60.0
"""Seconds for which a canary's pods may take no calls, while those of the current version do, before it has failed."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rollout goes by. `wanted` is the version that the spec means, with its hash; "" while that cannot be said.
    `ready` are the versions that are published and have all their pods, `serving` those of which at least one takes calls,
    `known` those that there is an AgentVersion of; `last_good` is the one that was current last."""

    now: float
    table: Rollout
    state: RolloutState
    policy: RolloutPolicy
    wanted: str
    hash: str
    ready: frozenset[str]
    serving: frozenset[str]
    known: frozenset[str]
    last_good: str = ""
    figures: Figures | None = None
    checks: Mapping[str, Check] | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """What follows: the table and the state as they are to be, and how soon to look again."""

    table: Rollout
    state: RolloutState
    events: tuple[Event, ...] = ()
    again: float | None = None


def advance(at: Situation) -> Course:
    """The next table and state."""
    if not at.table.versions:
        return _first(at)
    if at.wanted and at.hash != at.state.target:
        return Course(at.table, _new(at))
    if not at.wanted and not at.state.target:
        return Course(at.table, at.state)
    if at.table.current == at.state.version:
        return _is_current(at)
    if at.table.current not in at.known and at.state.version in at.ready:
        said = f"{at.table.current}, which was current, is gone; {at.state.version} gets all new contexts"
        promoted = shifting.promote(at.table, at.state.version)
        return Course(promoted, at.state, (Event("Warning", "CurrentGone", said),))
    canary = shifting.canary(at.table)
    if canary == at.state.version:
        return _ramping(at)
    if at.state.phase == "Waiting":
        return _replaced(at, canary) if canary else _begin(at)
    return _settled(at)


def _new(at: Situation) -> RolloutState:
    return RolloutState(
        target=at.hash,
        version=at.wanted,
        steps=len(at.policy.steps),
        started=stamp(at.now),
        message="waits for its pods",
    )


def _first(at: Situation) -> Course:
    """There is no table: the version that was good last has all, else the one that is wanted, once it is there."""
    state = at.state if at.hash == at.state.target or not at.wanted else _new(at)
    chosen = at.last_good if at.last_good in at.known else at.wanted
    if state is not at.state or chosen not in at.ready:
        return Course(at.table, state)
    return Course(shifting.begin(at.table, chosen), state)


def _is_current(at: Situation) -> Course:
    """What is wanted is current: a canary from before goes, if it was the spec's."""
    table, state = at.table, at.state
    events: list[Event] = []
    if state.phase == "Waiting" and shifting.canary(table):
        events.append(_event("RolloutAborted", f"{shifting.canary(table)} is not wanted any more"))
        table = shifting.abort(table)
    if state.phase != "Done":
        events.append(_event("RolledOut", f"{state.version} has all new contexts"))
        state = state.model_copy(
            update={"phase": "Done", "step": state.steps - 1, "message": "", "unavailable": ""}
        )
    return Course(table, state, tuple(events))


def _replaced(at: Situation, canary: str) -> Course:
    """Another canary is under way, which the spec does not mean any more."""
    said = f"{canary} is not wanted any more and gets no new contexts; {at.state.version} is"
    return Course(shifting.abort(at.table), at.state, (_event("CanaryReplaced", said),))


def _begin(at: Situation) -> Course:
    """The first step, once the pods take calls."""
    state = at.state
    if not at.wanted:
        return Course(at.table, state)
    if state.version not in at.ready:
        return Course(at.table, state.model_copy(update={"message": "waits for its pods"}))
    if at.table.paused:
        return Course(at.table, state.model_copy(update={"message": "the rollout is paused"}))
    step = at.policy.steps[0]
    return Course(_step(at.table, state.version, step), state, (_told(at, step),))


def _ramping(at: Situation) -> Course:
    """The canary has a share: it is judged, and gets more when it is time."""
    state, weight = at.state, _weight(at.table, at.state.version)
    index = _reached(at.policy, weight)
    if state.phase not in ("Stepping", "Paused") or not state.first_step:
        # That it has begun has to be known before anything else happens to it.
        begun = {"phase": "Stepping", "step": index, "steps": len(at.policy.steps), "message": ""}
        times = {"step_started": stamp(at.now), "first_step": stamp(at.now), "unavailable": ""}
        fresh = {"looks": 0, "judged": 0, "looked": "", "passed": False}
        return Course(at.table, state.model_copy(update=begun | times | fresh), again=1.0)
    if index != state.step:
        state = state.model_copy(update={"step": index, "step_started": stamp(at.now)})
    step = at.policy.steps[index]
    analysis = step.analysis or at.policy.analysis
    lasts = seconds(step.pause.duration) if step.pause and step.pause.duration else 0.0
    left = unclock(state.step_started) + lasts - at.now
    found = judge(state, analysis, at.table.current, at.figures, at.checks or {}, over=left <= 0, now=at.now)
    state = _availability(at, found.state)
    if found.verdict == "Fail":
        return _failed(at, state, found.reasons)
    if state.unavailable and at.now - unclock(state.unavailable) >= UNAVAILABLE:
        return _failed(at, state, f"its pods have taken no calls for {UNAVAILABLE:.0f} s")
    again = max(0.5, min(left, 5.0)) if left > 0 else 2.0
    if at.table.paused or not at.wanted:
        why = "the rollout is paused" if at.table.paused else "it cannot be said what the spec means"
        return Course(
            at.table, state.model_copy(update={"phase": "Paused", "message": why}), again=max(again, 2.0)
        )
    state = state.model_copy(update={"phase": "Stepping"})
    if left > 0:
        return Course(at.table, _saying(state, found.reasons), again=again)
    verdict, reasons = found.verdict, found.reasons
    if verdict == "Inconclusive" and analysis and analysis.no_verdict != "wait":
        if -left < seconds(analysis.patience):
            return Course(at.table, _saying(state, reasons), again=again)
        if analysis.no_verdict == "abort":
            return _failed(at, state, f"there is no verdict after {analysis.patience}: {reasons}")
        verdict = "Pass"
    if verdict == "Inconclusive" or state.version not in at.ready:
        waits = reasons if verdict == "Inconclusive" else "waits for its pods"
        return Course(at.table, _saying(state, waits), again=again)
    return _next(at, state, index)


def _next(at: Situation, state: RolloutState, index: int) -> Course:
    following = next(
        (one for one in at.policy.steps[index:] if one.weight > _weight(at.table, state.version)), None
    )
    step = following or Step(weight=100)
    told = _told(at, step)
    # The state follows when the table is seen to be so.
    return Course(_step(at.table, state.version, step), state, (told,), again=1.0)


def _failed(at: Situation, state: RolloutState, reasons: str) -> Course:
    """The canary loses its share at once, whatever else holds."""
    move = at.policy.drain.on_failure == "move"
    then = f"; {at.table.current} goes on with its contexts" if move else ""
    said = f"{state.version} does worse and gets no new contexts any more{then}: {reasons}"
    state = state.model_copy(update={"phase": "Failed", "message": reasons[:2048], "unavailable": ""})
    table = shifting.abort(at.table, move=move)
    return Course(table, state, (Event("Warning", "AnalysisFailed", said),), again=1.0)


def _settled(at: Situation) -> Course:
    """The version has no share, and is not to get one by itself: it was done, or has failed, or somebody took it away."""
    state = at.state
    if state.phase in ("Failed", "Aborted"):
        return Course(at.table, state)
    if state.phase == "Done":
        said = f"somebody made {at.table.current} the current version; it stays so until the spec is changed"
    else:
        step = at.policy.steps[min(max(state.step, 0), len(at.policy.steps) - 1)]
        analysis = step.analysis or at.policy.analysis
        found = judge(state, analysis, at.table.current, at.figures, at.checks or {}, over=True, now=at.now)
        if found.verdict == "Fail":  # an operator that ended before it could say so
            state = found.state.model_copy(update={"phase": "Failed", "message": found.reasons[:2048]})
            said = f"{state.version} does worse and gets no new contexts any more: {found.reasons}"
            return Course(at.table, state, (Event("Warning", "AnalysisFailed", said),))
        said = "its share of the new contexts was taken away; it stays so until the spec is changed"
    state = state.model_copy(update={"phase": "Aborted", "message": said, "unavailable": ""})
    return Course(at.table, state, (Event("Warning", "RolloutAborted", f"{state.version}: {said}"),))


def _availability(at: Situation, state: RolloutState) -> RolloutState:
    if state.version in at.serving or at.table.current not in at.serving:
        return state.model_copy(update={"unavailable": ""})
    return state if state.unavailable else state.model_copy(update={"unavailable": stamp(at.now)})


def _step(table: Rollout, version: str, step: Step) -> Rollout:
    if step.weight >= 100:
        return shifting.promote(table, version)
    held = step.pause is not None and step.pause.duration is None
    return replace(shifting.shift(table, version, float(step.weight)), paused=held)


def _told(at: Situation, step: Step) -> Event:
    version = at.state.version
    if step.weight >= 100:
        return _event("Promoted", f"{version} gets all new contexts")
    held = "; paused until it is resumed" if step.pause is not None and step.pause.duration is None else ""
    return _event(
        "StepReached",
        f"{version} gets {step.weight} % of the new contexts, {at.table.current} the rest{held}",
    )


def _weight(table: Rollout, version: str) -> float:
    return next((one.weight for one in table.versions if one.version == version), 0.0)


def _reached(policy: RolloutPolicy, weight: float) -> int:
    """The step that a weight belongs to: the last one that it is not below, else the first."""
    return max((index for index, step in enumerate(policy.steps) if step.weight <= weight), default=0)


def _saying(state: RolloutState, message: str) -> RolloutState:
    return state.model_copy(update={"message": message[:2048]})


def _event(reason: str, message: str) -> Event:
    return Event("Normal", reason, message)
