"""Whether a canary may go on: by its tasks beside those of the current version, and by what others say of it. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from parley_operator.observed import Check
from parley_operator.resources.agent import RolloutState
from parley_operator.resources.conditions import clock, unclock
from parley_operator.resources.rollout import Analysis
from parley_registry.client import Terms, VersionFigures, analyse, level_of_look

WINDOW = 6 * 3600.0
"""Seconds over which a canary is judged at most: one that is paused for weeks is judged by how it does now, and nobody counts the
tasks of weeks."""
_GROWTH = 1.5
"""How much more a canary must have done before it is judged again while a step goes on."""

_AGAIN = 60.0
"""Seconds between two looks at a step whose time is over, in a window that moves on."""

Figures = Mapping[str, VersionFigures]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons, and what is to be remembered of it."""

    verdict: Literal["Pass", "Fail", "Inconclusive"]
    reasons: str
    state: RolloutState


def judge(
    state: RolloutState,
    analysis: Analysis | None,
    current: str,
    figures: Figures | None,
    checks: Mapping[str, Check],
    *,
    over: bool,
    now: float,
) -> Judgement:
    """What is to be said of the canary `state.version`. `over` says that the step's time is: then one more task that has
    ended is news enough to look again, else it has to be half as much again as at the last look, or half of WINDOW later."""
    if analysis is None:
        return Judgement("Pass", "", state)
    by_tasks = _by_tasks(state, analysis, current, figures, over=over, now=now)
    others = [_said(one.name, checks.get(one.name)) for one in analysis.prometheus]
    others += [_said(one.name, checks.get(one.name)) for one in analysis.webhooks]
    all_of_them = [(by_tasks.verdict, by_tasks.reasons), *others]
    for worst in ("Fail", "Inconclusive"):
        reasons = [reason for verdict, reason in all_of_them if verdict == worst]
        if reasons:
            return Judgement(worst, "; ".join(reasons), by_tasks.state)
    return Judgement("Pass", "; ".join(reason for _, reason in all_of_them if reason), by_tasks.state)


def _by_tasks(
    state: RolloutState,
    analysis: Analysis,
    current: str,
    figures: Figures | None,
    *,
    over: bool,
    now: float,
) -> Judgement:
    if not analysis.rules:
        return Judgement("Pass", "", state)
    if figures is None:
        return Judgement("Inconclusive", "no pod could be asked how the versions do", state)
    ours = figures.get(state.version, VersionFigures(state.version))
    there = figures.get(current, VersionFigures(current))
    news = state.judged + 1 if over else math.ceil(state.judged * _GROWTH)
    if state.looks and ours.judged < news and not _is_due(state, now, over=over):
        return Judgement("Pass" if state.passed else "Inconclusive", state.message, state)
    level = level_of_look(analysis.level, state.looks + 1)
    terms = Terms(tuple(analysis.rules), level, analysis.minimum_sample, analysis.tolerance)
    found = analyse(there, ours, terms)
    if any(finding.p is not None for finding in found.findings):
        state = state.model_copy(
            update={
                "looks": state.looks + 1,
                "judged": ours.judged,
                "looked": clock(now),
                "passed": found.verdict == "Pass",
                "message": found.reasons[:2048],
            }
        )
    return Judgement(found.verdict, found.reasons, state)


def _is_due(state: RolloutState, now: float, *, over: bool) -> bool:
    """Whether it is time to look again whatever the counts say: in a window that moves on they do not grow."""
    if not state.first_step or not state.looked or now - unclock(state.first_step) < WINDOW:
        return False
    return now - unclock(state.looked) >= (_AGAIN if over else WINDOW / 2)


def _said(name: str, check: Check | None) -> tuple[Literal["Pass", "Fail", "Inconclusive"], str]:
    if check is None or check.passed is None:
        return "Inconclusive", f"{name}: {check.reason if check else 'not asked yet'}"
    return ("Pass" if check.passed else "Fail"), f"{name}: {check.reason}"
