"""What a change did to a test suite, from the two runs alone."""

import pytest

from parley_agents.artifacts import TestReport
from parley_agents.tester.compare import differing, report
from parley_agents.tester.suite import Outcome, Run


def run(problem: str = "", **outcomes: Outcome) -> Run:
    return Run(
        dict(outcomes), dict.fromkeys(outcomes, "said"), "<xml/>", ("python", "-m", "pytest"), 1.0, problem
    )


def judged(
    base: Run, change: Run, again: tuple[list[dict[str, Outcome]], list[dict[str, Outcome]]] = ([], [])
) -> TestReport:
    return report(base, change, base_again=again[0], change_again=again[1], sandbox="namespaces")


def test_a_test_that_passed_and_fails_is_broken() -> None:
    found = judged(run(a="passed", b="passed"), run(a="passed", b="failed"))
    assert (found.verdict, [c.id for c in found.broken]) == ("broken", ["b"])
    assert (found.passed, found.failed, found.broken[0].message) == (1, 1, "said")
    assert "b said" in found.summary


def test_a_test_that_is_not_there_any_more_is_broken() -> None:
    found = judged(run(a="passed", b="passed"), run(a="passed"))
    assert [(c.id, c.change) for c in found.broken] == [("b", "absent")]


def test_a_new_test_that_fails_counts_against_the_change_and_one_that_passes_does_not() -> None:
    assert judged(run(a="passed"), run(a="passed", collecting="error")).verdict == "broken"
    assert judged(run(a="passed"), run(a="passed", b="passed")).verdict == "passed"


def test_what_failed_before_and_still_fails_is_not_held_against_the_change() -> None:
    found = judged(run(a="passed", b="failed", c="error"), run(a="passed", b="error", c="passed"))
    assert found.verdict == "passed"
    assert ([c.id for c in found.still_failing], [c.id for c in found.fixed]) == (["b"], ["c"])


def test_a_test_that_goes_both_ways_on_one_side_is_flaky() -> None:
    base, change = run(a="passed", b="passed", c="passed"), run(a="failed", b="failed", c="failed")
    assert differing(base, change) == ["a", "b", "c"]
    found = judged(base, change, ([{"b": "failed", "c": "passed"}], [{"a": "passed", "c": "failed"}]))
    assert ([c.id for c in found.flaky], [c.id for c in found.broken]) == (["a", "b"], ["c"])


def test_skipped_is_neither_good_nor_bad() -> None:
    assert judged(run(a="passed", b="passed"), run(a="passed", b="skipped")).verdict == "passed"
    assert judged(run(a="passed", b="failed"), run(a="passed", b="skipped")).fixed == []


@pytest.mark.parametrize(
    ("base", "change", "verdict"),
    [
        (run(), run(), "no-tests"),
        (run(problem="it did not run"), run(), "could-not-run"),
        (run(a="error"), run(a="error"), "could-not-run"),
        (run(a="passed"), run(problem="it did not run"), "broken"),
    ],
)
def test_runs_without_result_are_told_apart(base: Run, change: Run, verdict: str) -> None:
    assert judged(base, change).verdict == verdict
