"""A canary that is paused for long is judged by how it does now, over a window that is bounded."""

import pytest
from simulated import START

from parley_operator import asking
from parley_operator.judging import WINDOW, judge
from parley_operator.resources.agent import AgentStatus, RolloutState
from parley_operator.resources.conditions import clock
from parley_operator.resources.rollout import Analysis
from parley_registry.client import VersionFigures

HOUR = 3600.0
ANALYSIS = Analysis.read({"minimumSample": 20, "rules": ["failure-rate"]})
FAILING = {
    "1": VersionFigures("1", ended={"completed": 400}),
    "2": VersionFigures("2", ended={"completed": 100, "failed": 100}),
}


def state(began: float, looked: float, judged: int = 1000) -> RolloutState:
    """Passed when it was looked at so many seconds ago, by more tasks than are in the window now."""
    return RolloutState(
        version="2",
        phase="Paused",
        first_step=clock(START - began),
        looks=5,
        judged=judged,
        looked=clock(START - looked),
        passed=True,
    )


@pytest.mark.parametrize(
    ("began", "seconds"), [(10.0, 60.0), (HOUR, HOUR + 1), (30 * 24 * HOUR, WINDOW)], ids=str
)
def test_figures_are_asked_for_over_no_more_than_the_window(began: float, seconds: float) -> None:
    status = AgentStatus(rollout=RolloutState(version="2", phase="Paused", first_step=clock(START - began)))
    assert asking.window(status, START) == pytest.approx(seconds)


def test_a_canary_that_begins_to_fail_after_days_of_pause_is_found_out() -> None:
    told = judge(state(30 * 24 * HOUR, 3 * HOUR), ANALYSIS, "1", FAILING, {}, over=False, now=START)
    assert told.verdict == "Fail"
    assert told.state.judged == 200
    assert told.state.looked == clock(START)


def test_it_is_not_looked_at_again_at_once() -> None:
    for began, looked in ((30 * 24 * HOUR, HOUR), (2 * HOUR, 1.9 * HOUR)):
        told = judge(state(began, looked), ANALYSIS, "1", FAILING, {}, over=False, now=START)
        assert (told.verdict, told.state.looks) == ("Pass", 5)


def test_when_the_time_of_its_step_is_over_it_is_looked_at_though_the_window_has_moved_on() -> None:
    told = judge(state(30 * 24 * HOUR, 120.0), ANALYSIS, "1", FAILING, {}, over=True, now=START)
    assert told.verdict == "Fail"
