"""From one rollout table to the next: whatever is asked for, what comes out is a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_registry.errors import BadRequest
from parley_registry.rollout import Rollout, RolloutVersion, check_rollout
from parley_registry.rollouts import shifting

NONE = Rollout("public", "coder")


def told(table: Rollout) -> list[tuple[str, str, float]]:
    return [(one.version, one.state, one.weight) for one in table.versions]


def test_a_canary_from_its_first_step_to_its_predecessors_end() -> None:
    table = shifting.begin(NONE, "1.0.0")
    assert told(table) == [("1.0.0", "Current", 100)]
    table = shifting.shift(table, "1.1.0", 5)
    assert told(table) == [("1.0.0", "Current", 95), ("1.1.0", "Ramping", 5)]
    assert shifting.canary(table) == "1.1.0"
    table = shifting.promote(table)
    assert told(table) == [("1.1.0", "Current", 100), ("1.0.0", "Draining", 0)]
    assert shifting.drained(table, lambda _: True) == table
    table = shifting.drained(table, lambda version: version != "1.0.0")
    assert told(table) == [("1.1.0", "Current", 100), ("1.0.0", "Drained", 0)]
    assert told(shifting.undo(table)) == [("1.0.0", "Current", 100), ("1.1.0", "Draining", 0)]


def test_an_aborted_canary_drains() -> None:
    table = shifting.shift(shifting.begin(NONE, "1.0.0"), "1.1.0", 25)
    expected = [("1.0.0", "Current", 100), ("1.1.0", "Draining", 0)]
    assert told(shifting.abort(table)) == told(shifting.undo(table)) == expected


def test_what_is_gone_back_to_is_not_the_canary_that_was_aborted() -> None:
    table = shifting.promote(shifting.shift(shifting.begin(NONE, "1.0.0"), "1.1.0", 25))
    table = shifting.abort(shifting.shift(table, "1.2.0", 25))
    assert told(table) == [("1.1.0", "Current", 100), ("1.0.0", "Draining", 0), ("1.2.0", "Draining", 0)]
    assert shifting.undo(table).current == "1.0.0"


def test_an_aborted_canary_is_inactive_when_what_runs_there_is_to_move() -> None:
    table = shifting.shift(shifting.begin(NONE, "1.0.0"), "1.1.0", 25)
    moved = shifting.abort(table, move=True)
    assert told(moved) == [("1.0.0", "Current", 100), ("1.1.0", "Inactive", 0)]
    assert told(shifting.shift(moved, "1.1.0", 5))[1] == ("1.1.0", "Ramping", 5), "it may be tried again"


def test_a_pause_lasts_until_it_is_resumed_or_the_rollout_is_ended() -> None:
    table = shifting.pause(shifting.shift(shifting.begin(NONE, "1.0.0"), "1.1.0", 25))
    assert table.paused
    assert shifting.shift(table, "1.2.0", 5).paused
    assert shifting.drained(table, lambda _: False).paused
    for over in (shifting.resume, shifting.promote, shifting.abort, shifting.undo):
        assert not over(table).paused
    with pytest.raises(BadRequest, match="nothing to pause"):
        shifting.pause(NONE)


def test_a_second_canary_takes_the_place_of_the_first() -> None:
    table = shifting.shift(shifting.begin(NONE, "1.0.0"), "1.1.0", 25)
    assert told(shifting.shift(table, "1.2.0", 5)) == [
        ("1.0.0", "Current", 95), ("1.2.0", "Ramping", 5), ("1.1.0", "Draining", 0),
    ]  # fmt: skip


def test_weights_set_by_hand() -> None:
    table = shifting.weighted(shifting.begin(NONE, "0.9.0"), {"1.0.0": 80, "1.1.0": 20})
    assert told(table) == [("1.0.0", "Current", 80), ("1.1.0", "Ramping", 20), ("0.9.0", "Draining", 0)]


@pytest.mark.parametrize("step", [shifting.promote, shifting.abort, shifting.undo])
def test_without_a_canary_or_a_predecessor_there_is_nowhere_to_go(step: object) -> None:
    with pytest.raises(BadRequest):
        step(shifting.begin(NONE, "1.0.0"))  # type: ignore[operator]


def test_only_what_has_drained_is_retired() -> None:
    table = shifting.promote(shifting.begin(NONE, "1.0.0"), "1.1.0")
    for version in ("1.0.0", "1.1.0", "9.9.9"):
        with pytest.raises(BadRequest, match="has not drained"):
            shifting.retire(table, version)
    table = shifting.retire(shifting.drained(table, lambda _: False), "1.0.0")
    assert told(table) == [("1.1.0", "Current", 100)]


def test_what_is_current_is_not_rolled_out() -> None:
    with pytest.raises(BadRequest, match="already"):
        shifting.shift(shifting.begin(NONE, "1.0.0"), "1.0.0", 5)
    with pytest.raises(BadRequest, match="no current version"):
        shifting.shift(NONE, "1.0.0", 5)


VERSIONS = [f"1.{n}.0" for n in range(30)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["shift", "promote", "abort", "undo", "drained"]),
        st.sampled_from(VERSIONS),
        st.integers(1, 10000).map(lambda n: n / 100),
    ),
    max_size=60,
)


@given(STEPS)
def test_any_order_of_steps_leaves_a_table_that_is_whole(steps: list[tuple[str, str, float]]) -> None:
    table = shifting.begin(NONE, VERSIONS[0])
    for kind, version, weight in steps:
        try:
            match kind:
                case "shift":
                    table = shifting.shift(table, version, weight)
                case "promote":
                    table = shifting.promote(table, version)
                case "drained":
                    table = shifting.drained(table, lambda one, gone=version: one > gone)  # type: ignore[misc]
                case _:
                    table = getattr(shifting, kind)(table)
        except BadRequest:
            continue
        check_rollout(table, VERSIONS)
        assert sum(one.state == "Ramping" for one in table.versions) <= 1
        assert sum(one.state == "Drained" for one in table.versions) <= shifting.KEPT


def test_tables_keep_only_so_many_versions_that_have_drained() -> None:
    table = shifting.begin(NONE, VERSIONS[0])
    for version in VERSIONS[1:]:
        table = shifting.drained(shifting.promote(table, version), lambda _: False)
    assert [one.version for one in table.versions] == VERSIONS[: -shifting.KEPT - 2 : -1]
    assert table.versions[1] == RolloutVersion(VERSIONS[-2], "Drained")
