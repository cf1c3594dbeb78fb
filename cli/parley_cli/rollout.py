"""A canary from its first step to its end: the weight is raised step by step, and taken away at once when it does worse.

Nothing is kept here: where a rollout stands is in the rollout table, so it can be stopped, and gone on with, at any time.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from parley_cli.fleet import Fleet, NoFigures
from parley_registry.client import (
    Analysis,
    RegistryUnavailable,
    Rollout,
    Terms,
    VersionFigures,
    analyse,
    level_of_look,
    shifting,
)

Say = Callable[[str], None]

_POLL = 1.0
_SETTLED = 3.0
"""Seconds after which no front gives a new context to a version whose weight was taken away."""
_GROWTH = 1.5
"""How much more a canary must have done before it is judged again while a step goes on."""


@dataclass(frozen=True, slots=True)
class Step:
    """A share of the new contexts, in per cent, and how long it stays at least, in seconds."""

    weight: float
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a rollout ended: `done` when the canary is current now; `reason` why it is not."""

    done: bool
    reason: str = ""


class Judge:
    """Judges a canary by what has ended since this was made, each time by a stricter level (see `analysis`)."""

    def __init__(self, fleet: Fleet, terms: Terms, canary: str, say: Say) -> None:
        self._fleet = fleet
        self._terms = terms
        self._canary = canary
        self._say = say
        self._since = time.monotonic()
        self._looks = 0
        self._judged = 0
        self._lost = False
        self._last: Analysis | None = None

    async def look(self, current: str, *, final: bool = False) -> Analysis | None:
        """The analysis now, or the last one while there is too little new to judge by (`final`: any news is enough); None
        before the first."""
        if not self._terms.rules:
            return Analysis()
        figures = await self._figures()
        if figures is None:
            return self._last
        there = figures.get(current, VersionFigures(current))
        ours = figures.get(self._canary, VersionFigures(self._canary))
        if self._looks and ours.judged < (self._judged + 1 if final else math.ceil(self._judged * _GROWTH)):
            return self._last
        level = level_of_look(self._terms.level, self._looks + 1)
        self._last = analyse(there, ours, replace(self._terms, level=level))
        if any(finding.p is not None for finding in self._last.findings):
            self._looks += 1
            self._judged = ours.judged
        return self._last

    async def _figures(self) -> Mapping[str, VersionFigures] | None:
        try:
            found = await self._fleet.figures(time.monotonic() - self._since + 1.0)
        except (NoFigures, RegistryUnavailable) as error:
            if not self._lost:
                self._say(f"no figures now: {error}")
            self._lost = True
            return None
        self._lost = False
        return found


class Course:
    """The way of one canary: its weights, whether it is paused, and when it has failed. The registry may be away meanwhile:
    what was known last holds."""

    def __init__(self, fleet: Fleet, version: str, terms: Terms, say: Say) -> None:
        self._fleet = fleet
        self._version = version
        self._say = say
        self._judge = Judge(fleet, terms, version, say)
        self._table: Rollout | None = None
        self._said = ""

    async def reached(self) -> float:
        """The weight that the canary has now."""
        self._table = await self._fleet.table()
        return self._weight(self._table)

    async def shift(self, weight: float) -> bool:
        """Give the canary that weight; False, and nothing done, while the rollout is paused."""

        def step(table: Rollout) -> Rollout:
            return table if table.paused else shifting.shift(table, self._version, weight)

        self._table = table = await self._fleet.change_surely(step, self._say)
        if not table.paused:
            self._say(f"{self._version} gets {weight:g} % of the new contexts, {table.current} the rest")
        return not table.paused

    async def promote(self) -> bool:
        """Make the canary current; False, and nothing done, while the rollout is paused."""

        def step(table: Rollout) -> Rollout:
            return table if table.paused else shifting.promote(table, self._version)

        table = self._table = await self._fleet.change_surely(step, self._say)
        if not table.paused:
            self._say(f"{self._version} is current, with all new contexts")
        return not table.paused

    async def stay(self, step: Step) -> Outcome | None:
        """Keep a step for its time, not counting pauses, and until the canary has passed; how the rollout ends if it does
        here."""
        left, looked = step.pause, time.monotonic()
        while True:
            over = left <= 0
            found, ended = await self._look(step.weight, final=over)
            paused = self._paused()
            if ended is not None:
                return ended
            if over and not paused:
                if found is not None and found.verdict == "Pass":
                    if found.reasons:
                        self._say(f"passed: {found.reasons}")
                    return None
                self._say_once(f"waiting: {found.reasons if found is not None else 'no figures yet'}")
            await asyncio.sleep(_POLL if over or paused else min(_POLL, max(0.05, left)))
            now = time.monotonic()
            if not paused:
                left -= now - looked
            looked = now

    async def resumed(self, weight: float) -> Outcome | None:
        """Wait while the rollout is paused; how it ends if it does meanwhile."""
        while True:
            _, ended = await self._look(weight, final=False)
            if ended is not None or not self._paused():
                return ended
            await asyncio.sleep(_POLL)

    async def _look(self, weight: float, *, final: bool) -> tuple[Analysis | None, Outcome | None]:
        """The verdict now, after which a canary that failed has no weight; and how the rollout ends by it, or because
        somebody else has given the canary another weight than that."""
        assert self._table is not None, "a course begins with what was reached"
        found = await self._judge.look(self._table.current, final=final)
        if found is not None and found.verdict == "Fail":
            await self._fleet.change_surely(self._abort, self._say)
            reason = f"{self._version} does worse and gets no new contexts any more: {found.reasons}"
            return found, Outcome(False, reason)
        try:
            self._table = await self._fleet.table()
        except RegistryUnavailable:
            return found, None
        if self._weight(self._table) != weight:
            reason = f"somebody else changed the rollout of {self._version}; it is left as it is"
            return found, Outcome(False, reason)
        return found, None

    def _paused(self) -> bool:
        assert self._table is not None, "a course begins with what was reached"
        if self._table.paused:
            self._say_once(f"paused, until `parley rollout resume {self._fleet.name}`")
        return self._table.paused

    def _abort(self, table: Rollout) -> Rollout:
        return shifting.abort(table) if shifting.canary(table) == self._version else table

    def _weight(self, table: Rollout) -> float:
        ramping = (one for one in table.versions if one.version == self._version and one.state == "Ramping")
        return next((one.weight for one in ramping), 0.0)

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._say(text)
        self._said = text


async def run(fleet: Fleet, version: str, steps: Sequence[Step], terms: Terms, say: Say) -> Outcome:
    """Take a canary through the steps, from the one that the table says it has reached; a canary that fails the analysis
    loses its weight at once. While the rollout is paused no step is taken, and no time of a step passes. Ends when the
    canary is current, has failed, or somebody else changed its weight."""
    course = Course(fleet, version, terms, say)
    weight = await course.reached()
    for step in steps:
        if step.weight < weight:
            continue
        while not await course.shift(step.weight):
            if (ended := await course.resumed(weight)) is not None:
                return ended
        weight = step.weight
        if step.pause and (ended := await course.stay(step)) is not None:
            return ended
    while not await course.promote():
        if (ended := await course.resumed(weight)) is not None:
            return ended
    return Outcome(True)


async def drain(fleet: Fleet, seconds: float, say: Say) -> Rollout:
    """Mark versions that drain as Drained when nothing of them is open any more, for at most so many seconds; the table then."""
    until = time.monotonic() + seconds
    settled = time.monotonic() + _SETTLED
    while True:
        table = await fleet.table()
        if not any(one.state == "Draining" for one in table.versions):
            return table
        if time.monotonic() >= settled:
            try:
                table = await fleet.change(
                    partial(shifting.drained, is_open=_open_in(await fleet.figures(1.0)))
                )
            except NoFigures as error:
                say(f"whether it has drained is not known: {error}")
                return table
        if time.monotonic() >= until:
            return table
        await asyncio.sleep(min(_POLL, max(0.05, until - time.monotonic())))


def _open_in(figures: Mapping[str, VersionFigures]) -> Callable[[str], bool]:
    return lambda version: version in figures and figures[version].open > 0
