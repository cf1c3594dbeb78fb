"""Whether a canary does worse than the current version: verdicts as a table, and how often they are wrong."""

import math
import random
import time
from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_registry.errors import BadRequest
from parley_registry.rollouts.analysis import Terms, analyse, check_terms, level_of_look, worse
from parley_registry.rollouts.figures import VersionFigures, figures_from, figures_json

FAILURES = Terms(rules=("failure-rate",))
SLOWNESS = Terms(rules=("p95",))


def did(version: str, completed: int = 0, failed: int = 0, **more: object) -> VersionFigures:
    return VersionFigures(version, ended={"completed": completed, "failed": failed}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("current", "canary", "verdict"),
    [
        ((950, 0), (0, 3), "Inconclusive"),
        ((950, 0), (0, 19), "Inconclusive"),
        ((950, 0), (0, 20), "Fail"),
        ((19, 0), (0, 100), "Inconclusive"),
        ((950, 10), (25, 25), "Fail"),
        ((950, 10), (49, 1), "Pass"),
        ((950, 0), (49, 1), "Pass"),
        ((500, 500), (25, 25), "Pass"),
        ((500, 500), (50, 0), "Pass"),
        ((0, 100), (0, 100), "Pass"),
    ],
)
def test_failures_beside_those_of_the_current_version(
    current: tuple[int, int], canary: tuple[int, int], verdict: str
) -> None:
    found = analyse(did("1", *current), did("2", *canary), FAILURES)
    assert found.verdict == verdict, found.reasons


def test_the_reasons_name_the_figures() -> None:
    found = analyse(did("1.0.0", 950, 10), did("1.1.0", 25, 25), FAILURES)
    assert found.reasons.startswith(
        "failure-rate: 1.1.0 failed 25 of 50 (50.0%), 1.0.0 10 of 960 (1.0%) (p = "
    )
    few = analyse(did("1.0.0", 950), did("1.1.0", 2, 1), FAILURES)
    assert few.reasons == "failure-rate: 1.1.0 has 3 of the 20 ended tasks that it takes"


def test_what_clients_cancel_and_plain_answers_are_no_failures() -> None:
    canary = VersionFigures("2", ended={"message": 40, "canceled": 500})
    assert (canary.judged, canary.failed) == (40, 0)
    assert analyse(did("1", 900), canary, FAILURES).verdict == "Pass"


def test_rejections_and_protocol_errors_are_failures() -> None:
    canary = VersionFigures("2", ended={"rejected": 20, "error": 20})
    assert analyse(did("1", 900), canary, FAILURES).verdict == "Fail"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "Pass"), (1.15, "Pass"), (3.0, "Fail")])
def test_a_canary_may_be_a_little_slower(factor: float, verdict: str) -> None:
    dice = random.Random(7)
    current = [dice.lognormvariate(0, 0.5) for _ in range(900)]
    canary = [factor * dice.lognormvariate(0, 0.5) for _ in range(100)]
    found = analyse(VersionFigures("1", durations=current), VersionFigures("2", durations=canary), SLOWNESS)
    assert found.verdict == verdict, found.reasons


@pytest.mark.parametrize(
    ("rule", "verdict"), [("metric:score:higher", "Fail"), ("metric:score:lower", "Pass")]
)
def test_which_of_a_metric_is_better_is_said(rule: str, verdict: str) -> None:
    good, bad = [0.9 + n / 1000 for n in range(50)], [0.5 + n / 1000 for n in range(50)]
    current = VersionFigures("1", metrics={"score": good})
    canary = VersionFigures("2", metrics={"score": bad})
    assert analyse(current, canary, Terms(rules=(rule,))).verdict == verdict


def test_a_metric_that_nobody_reports_decides_nothing() -> None:
    found = analyse(did("1", 99), did("2", 99), Terms(rules=("failure-rate", "metric:score:higher")))
    assert found.verdict == "Inconclusive"


def test_without_rules_a_canary_passes() -> None:
    assert analyse(did("1"), did("2"), Terms(rules=())).verdict == "Pass"


@pytest.mark.parametrize("rule", ["speed", "metric:", "metric:x", "metric:x:best", "metric::lower", ""])
def test_rules_that_there_are_not_are_refused(rule: str) -> None:
    with pytest.raises(BadRequest, match="is no rule of an analysis"):
        check_terms(Terms(rules=(rule,)))


@pytest.mark.parametrize(
    "terms",
    [Terms(level=0), Terms(level=1), Terms(minimum=0), Terms(tolerance=-1), Terms(level=float("nan"))],
)
def test_numbers_out_of_range_are_refused(terms: Terms) -> None:
    with pytest.raises(BadRequest):
        check_terms(terms)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_the_chance_is_fishers(bad: int, of: int, bad_there: int, of_there: int) -> None:
    bad, bad_there = min(bad, of), min(bad_there, of_there)
    wrong, total = bad + bad_there, of + of_there
    exact = sum(comb(wrong, k) * comb(total - wrong, of - k) for k in range(bad, min(wrong, of) + 1))
    assert worse(bad, of, bad_there, of_there) == pytest.approx(exact / comb(total, of), rel=1e-9)


@given(st.integers(1, 1000), st.floats(0.0001, 0.5))
def test_all_looks_together_spend_no_more_than_the_level(looks: int, level: float) -> None:
    assert sum(level_of_look(level, n) for n in range(1, looks + 1)) <= level


@given(st.integers(0, 200), st.integers(20, 200), st.integers(0, 200), st.integers(20, 200))
def test_a_canary_that_fails_no_more_often_never_fails_the_analysis(a: int, n: int, b: int, m: int) -> None:
    a, b = min(a, n), min(b, m)
    if a * m <= b * n:
        assert analyse(did("1", m - b, b), did("2", n - a, a), FAILURES).verdict == "Pass"


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize("share", [0.05, 0.25])
def test_versions_that_are_alike_are_told_apart_no_more_often_than_the_level_says(
    level: float, share: float
) -> None:
    dice = random.Random(f"{level} {share}")
    terms = Terms(rules=("failure-rate", "p95", "metric:tokens:lower"), level=level, tolerance=0.0)
    rounds, total = 1500, 400

    def version(name: str, tasks: int) -> VersionFigures:
        failed = sum(dice.random() < 0.1 for _ in range(tasks))
        durations = [dice.lognormvariate(0, 1) for _ in range(tasks - failed)]
        tokens = [float(dice.randrange(200)) for _ in range(tasks)]
        return did(name, tasks - failed, failed, durations=durations, metrics={"tokens": tokens})

    alarms = 0
    for _ in range(rounds):
        canary = max(20, int(total * share))
        alarms += analyse(version("1", total - canary), version("2", canary), terms).verdict == "Fail"
    sigma = (level * (1 - level) / rounds) ** 0.5
    assert alarms / rounds <= level + 3 * sigma


def test_a_version_that_fails_half_its_tasks_is_found_out_with_the_least_sample() -> None:
    dice = random.Random(3)
    found = 0
    for _ in range(300):
        failed = sum(dice.random() < 0.5 for _ in range(20))
        found += (
            analyse(did("1", 370, 10), did("2", 20 - failed, failed), Terms(rules=("failure-rate",))).verdict
            == "Fail"
        )
    assert found >= 290


@pytest.mark.parametrize("bad", [500_000, 500_900, 499_000, 10, 999_990])
def test_millions_of_tasks_are_compared_as_quickly_as_a_few(bad: int) -> None:
    started = time.process_time()
    found = worse(bad, 1_000_000, 500_000, 1_000_000)
    assert time.process_time() - started < 1.0
    # So many are as good as normally distributed.
    share = (bad + 500_000) / 2_000_000
    score = (bad - 0.5 - 1_000_000 * share) / math.sqrt(1_000_000 * share * (1 - share) / 2)
    assert found == pytest.approx(math.erfc(score / math.sqrt(2)) / 2, rel=1e-2, abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 10**30},
        {"working": -1},
        {"ended": {"failed": -5}},
        {"ended": {"failed": 1e300}},
        {"ended": ["failed"]},
        {"duration": {"values": ["nan"]}},
        {"metrics": {"cost": None}},
    ],
    ids=str,
)
def test_figures_that_no_host_tells_are_refused(wrong: dict[str, Any]) -> None:
    told = figures_json(VersionFigures("1.0.0", ended={"completed": 1}, durations=(1.0,)))
    assert figures_from(told).judged == 1
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        figures_from(told | wrong)
