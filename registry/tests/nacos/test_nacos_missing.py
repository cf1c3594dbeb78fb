"""What Nacos does not list any more: one thing was deleted, several at once are kept for a while."""

import logging
from dataclasses import dataclass, field

import pytest

from parley_registry.nacos.missing import Missing


@dataclass
class World:
    """What the copy has, what Nacos lists, and the time."""

    known: set[str]
    listed: set[str]
    now: float = 100.0
    looks: int = 0
    missing: Missing[str] = field(init=False)

    def __post_init__(self) -> None:
        self.missing = Missing("agents of a", self._known, self._listed, held=60.0, clock=lambda: self.now)

    async def _known(self) -> set[str]:
        return self.known

    async def _listed(self) -> set[str]:
        self.looks += 1
        return self.listed


async def test_one_that_is_gone_was_deleted() -> None:
    world = World({"a", "b", "c"}, {"b", "c"})
    assert await world.missing.is_gone("a")
    assert world.missing.why == ""


async def test_what_nobody_knows_is_gone() -> None:
    world = World({"a"}, {"a"})
    assert await world.missing.is_gone("never")


async def test_all_at_once_are_kept_for_a_minute_and_then_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World({"a", "b", "c"}, set())
    for second in range(60):
        world.now = 100.0 + second
        for one in ("a", "b", "c"):
            assert not await world.missing.is_gone(one)
        assert world.missing.why == "Nacos lists none of 3 known agents of a"
    world.now = 160.0
    for one in ("a", "b", "c"):
        assert await world.missing.is_gone(one)
        world.known.discard(one)
        world.missing.settled(one)
    assert world.missing.why == ""
    assert len(caplog.messages) == 2, "one line when it began, and one when it ended"


async def test_those_that_come_back_leave_the_others_kept() -> None:
    world = World({"a", "b", "c"}, set())
    assert not await world.missing.is_gone("a")
    world.now, world.listed = 130.0, {"a", "b"}
    world.missing.settled("a")
    world.missing.settled("b")
    assert not await world.missing.is_gone("c"), "the last that is missing is no deletion either"
    assert world.missing.why == "Nacos lists 2 of 3 known agents of a"
    world.now = 159.0
    assert not await world.missing.is_gone("c")
    world.now = 160.0
    assert await world.missing.is_gone("c")


async def test_many_that_vanish_cost_one_look_a_second() -> None:
    world = World({str(number) for number in range(1000)}, set())
    for number in range(1000):
        assert not await world.missing.is_gone(str(number))
    assert world.looks == 1


async def test_one_that_vanished_together_with_another_that_was_being_deleted_here_is_let_go() -> None:
    world = World({"a", "b", "c"}, {"c"})
    assert not await world.missing.is_gone("a")
    world.known, world.now = {"a", "c"}, 102.0
    world.missing.settled("b")
    assert not await world.missing.is_gone("a"), "nobody knows what became of the other"
    world.known, world.listed, world.now = {"a", "c"}, {"a", "c"}, 104.0
    world.missing.settled("a")
    assert world.missing.why == ""
