"""What a change did to a test suite: a function of the runs before and after it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from parley_agents.artifacts import TestCase, TestReport
from parley_agents.tester.suite import Outcome, Run

State = Literal["passed", "failed", "error", "skipped", "absent"]
_BAD = ("failed", "error")


def differing(base: Run, change: Run) -> list[str]:
    """Ids of the tests that went well on one side only."""
    names = base.outcomes.keys() | change.outcomes.keys()
    return sorted(
        n
        for n in names
        if _worse(_state(base, n), _state(change, n)) or _better(_state(base, n), _state(change, n))
    )


def report(
    base: Run,
    change: Run,
    *,
    base_again: Sequence[Mapping[str, Outcome]] = (),
    change_again: Sequence[Mapping[str, Outcome]] = (),
    sandbox: str,
    notes: Sequence[str] = (),
) -> TestReport:
    """The judgement of a change. `…_again` are repeated runs of the differing tests.

    A test that went both ways on one side is flaky and counts neither for nor against the change. A test that
    passed and is no longer there counts as broken: it could not be collected, or was taken away.
    """
    broken, fixed, flaky, still = [], [], [], []
    for name in sorted(base.outcomes.keys() | change.outcomes.keys()):
        before, after = _state(base, name), _state(change, name)
        case = TestCase(id=name, base=before, change=after, message=change.messages.get(name, ""))
        if _worse(before, after) or _better(before, after):
            if _both_ways(before, name, base_again) or _both_ways(after, name, change_again):
                flaky.append(case)
            elif _worse(before, after):
                broken.append(case)
            else:
                fixed.append(case)
        elif before in _BAD and after in _BAD:
            still.append(case)
    states = list(change.outcomes.values())
    passed, skipped = states.count("passed"), states.count("skipped")
    if base.problem or not _any_ran(base):
        verdict: Literal["passed", "broken", "no-tests", "could-not-run"] = (
            "could-not-run" if base.problem or base.outcomes else "no-tests"
        )
        summary = base.problem or ("no test passes on the base" if base.outcomes else "there are no tests")
    elif change.problem:
        verdict, summary = "broken", f"on the change {change.problem}"
    else:
        verdict = "broken" if broken else "passed"
        summary = f"{passed} passed, {len(states) - passed - skipped} failed, {skipped} skipped"
        parts = (("broken", broken), ("fixed", fixed), ("flaky", flaky), ("failed before too", still))
        summary += "".join(f", {len(cases)} {word}" for word, cases in parts if cases)
        if broken:
            summary += ": " + "; ".join(f"{c.id} {_first(c.message)}" for c in broken[:5])
    return TestReport(
        verdict=verdict, summary=". ".join([summary, *notes]), sandbox=sandbox, command=list(change.command or base.command),
        passed=passed, failed=len(states) - passed - skipped, skipped=skipped,
        broken=broken, fixed=fixed, flaky=flaky, still_failing=still, seconds=round(base.seconds + change.seconds, 3),
    )  # fmt: skip


def _state(run: Run, name: str) -> State:
    return run.outcomes.get(name, "absent")


def _worse(before: State, after: State) -> bool:
    return (before == "passed" and after in (*_BAD, "absent")) or (before == "absent" and after in _BAD)


def _better(before: State, after: State) -> bool:
    return before in _BAD and after == "passed"


def _both_ways(first: State, name: str, again: Sequence[Mapping[str, Outcome]]) -> bool:
    return any(
        (run[name] in _BAD) != (first in _BAD) for run in again if name in run and run[name] != "skipped"
    )


def _any_ran(run: Run) -> bool:
    return any(outcome == "passed" for outcome in run.outcomes.values())


def _first(message: str) -> str:
    return " ".join((message.strip().splitlines() or [""])[0].split())[:200]
