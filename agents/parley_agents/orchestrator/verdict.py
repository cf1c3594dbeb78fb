"""What becomes of a step's change, and of the whole: decisions as functions of what the judges said."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from parley_agents.artifacts import Feedback, TestReport, Verdict

MAX_FINDINGS = 50
"""Findings handed back to a coder in one round."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What reviewer and tester said of one change. A judge that is None could not be had; `missing` says why."""

    review: Verdict | None = None
    findings: tuple[dict[str, Any], ...] = ()
    tests: TestReport | None = None
    missing: tuple[str, ...] = ()

    @property
    def objections(self) -> list[Feedback]:
        """What must be different before the change is accepted; [] when nothing must."""
        wanted = []
        if self.review and self.review.verdict == "request-changes":
            wanted.append(
                Feedback(
                    source="review",
                    text=self.review.summary,
                    findings=list(self.findings[:MAX_FINDINGS]),
                )
            )
        if self.tests and self.tests.verdict == "broken":
            broken = [case.model_dump() for case in self.tests.broken[:MAX_FINDINGS]]
            wanted.append(Feedback(source="tests", text=self.tests.summary, findings=broken))
        return wanted


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a step after a round, and why (shown to people)."""

    what: Literal["accept", "again", "drop"]
    reason: str


def after_round(
    judgement: Judgement, *, number: int, rounds: int, seconds_left: float, repeated: bool = False
) -> Decision:
    """Decide on a step's change after round `number` of `rounds`.

    `repeated`: the coder brought a change that was refused before, so another round would bring it again.
    """
    objections = judgement.objections
    if not objections:
        return Decision("accept", accepted_because(judgement))
    said = "; ".join(one.text.strip() or f"refused by {one.source}" for one in objections)
    if repeated:
        return Decision("drop", f"the same change came back after feedback: {said}")
    if number >= rounds:
        return Decision("drop", f"not accepted in {number} round{'s' if number > 1 else ''}: {said}")
    if seconds_left <= 0:
        return Decision("drop", f"the time for the task is spent: {said}")
    return Decision("again", said)


def accepted_because(judgement: Judgement) -> str:
    """Why a change without objections is good, in words."""
    reasons = []
    if judgement.review:
        reasons.append("review approved")
    if judgement.tests:
        reasons.append(
            {
                "passed": "tests pass",
                "no-tests": "there are no tests",
                "could-not-run": f"tests could not run ({judgement.tests.summary.strip()})",
                "broken": "tests broken",
            }[judgement.tests.verdict]
        )
    return ", ".join([*reasons, *judgement.missing]) or "nobody judged it"


def doubts(judgement: Judgement, *, allow_untested: bool) -> list[str]:
    """Why a delivered change does not count as verified; [] when it does."""
    found = list(judgement.missing)
    found += [f"{one.source}: {one.text.strip()}" for one in judgement.objections]
    if judgement.tests and judgement.tests.verdict == "no-tests" and not allow_untested:
        found.append("the repository has no tests (the option allow_untested would accept that)")
    if judgement.tests and judgement.tests.verdict == "could-not-run":
        found.append(f"the tests could not be run: {judgement.tests.summary.strip()}")
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """A change that is part of the integrated line: which step made it and the files it touches."""

    step: str
    files: frozenset[str]


def suspect(judgement: Judgement, kept: Sequence[Kept]) -> str:
    """The step to take back when each change was fine alone but all of them together are not.

    The last one that touches a file the review objects to; without such a hint, the last one.
    """
    named = {path for finding in judgement.findings for path in paths_in(finding)}
    if named and judgement.review and judgement.review.verdict == "request-changes":
        for one in reversed(kept):
            if one.files & named:
                return one.step
    return kept[-1].step


def paths_in(finding: dict[str, Any]) -> set[str]:
    """The files a SARIF result points at."""
    found = set()
    for location in finding.get("locations") or ():
        if isinstance(location, dict):
            place = location.get("physicalLocation") or {}
            uri = (place.get("artifactLocation") or {}).get("uri") if isinstance(place, dict) else None
            if isinstance(uri, str):
                found.add(uri)
    return found
