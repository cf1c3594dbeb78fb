"""What could not be done for an Agent, told in its condition Degraded over whatever was planned to be told. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parley_operator.kube.errors import ApiFailed, FieldConflict, Forbidden, Invalid, KubeError
from parley_operator.resources.conditions import clock

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """Why, in one word and in words; `accepted` is False of what the spec asks for and nobody can give."""

    reason: str
    message: str
    accepted: bool = True

    @classmethod
    def of(cls, error: KubeError, what: str) -> "Problem":
        """What the API server refused when `what` was to be written."""
        match error:
            case FieldConflict():
                fields = "; ".join(f"{one.field} (owned by {one.manager})" for one in error.claims[:10])
                return cls(
                    "FieldConflict",
                    f"{what}: others have set fields that the operator sets: {fields}. Take them back there, or delete the"
                    " object and it is made anew"[:_LONGEST],
                )
            case Forbidden():
                return cls("Forbidden", f"{what}: {error}"[:_LONGEST])
            case Invalid():
                return cls(
                    "Refused" if error.reason == "Invalid" else error.reason, f"{what}: {error}"[:_LONGEST]
                )
            case ApiFailed():
                return cls("ApiFailed", f"{what}: {error}"[:_LONGEST])
        return cls("NotWritten", f"{what}: {error}"[:_LONGEST])

    @classmethod
    def together(cls, problems: Sequence["Problem"]) -> "Problem | None":
        """All of them as one, the first giving the reason; None when there are none."""
        if not problems:
            return None
        said = dict.fromkeys(one.message for one in problems)
        return cls(problems[0].reason, "; ".join(said)[:_LONGEST], all(one.accepted for one in problems))

    def told_in(self, status: Mapping[str, Any]) -> bool:
        """Whether the status says it already."""
        return any(
            (one["type"], one["status"], one["reason"], one.get("message"))
            == ("Degraded", "True", self.reason, self.message)
            for one in status.get("conditions") or ()
        )


def with_problem(
    status: Mapping[str, Any],
    live: Mapping[str, Any],
    problem: Problem | None,
    *,
    generation: int = 0,
    now: float,
) -> dict[str, Any]:
    """The status with the problem, if there is one, as its condition Degraded, and Accepted and Ready if it is not accepted
    (since when, `live` may tell)."""
    if problem is None:
        return dict(status)
    told = {"Degraded": "True"} | ({} if problem.accepted else {"Accepted": "False", "Ready": "False"})
    since = {one["type"]: (one["status"], one["lastTransitionTime"]) for one in live.get("conditions") or ()}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    for kind, holds in told.items():
        before, when = since.get(kind, ("", ""))
        conditions[kind] = {
            "type": kind,
            "status": holds,
            "reason": problem.reason,
            "message": problem.message,
            "lastTransitionTime": when if before == holds else clock(now),
            "observedGeneration": generation,
        }
    return {**status, "phase": "Degraded", "conditions": list(conditions.values())}
