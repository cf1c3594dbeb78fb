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


async def run(fleet: Fleet, version: str, steps: Sequence[Step], terms: Terms, say: Say) -> Outcome:
    """Take a canary through the steps, from the one that the table says it has reached; a canary that fails the analysis
    loses its weight at once. Ends when the canary is current, has failed, or somebody else changed its weight."""
    reached = _weight(await fleet.table(), version)
    judge = Judge(fleet, terms, version, say)
    for step in steps:
        if step.weight < reached:
            continue
        table = await fleet.change_surely(partial(shifting.shift, version=version, weight=step.weight), say)
        say(f"{version} gets {step.weight:g} % of the new contexts, {table.current} the rest")
        if step.pause and (ended := await _stay(fleet, table.current, version, step, judge, say)) is not None:
            return ended
    await fleet.change_surely(partial(shifting.promote, version=version), say)
    say(f"{version} is current, with all new contexts")
    return Outcome(True)


async def _stay(
    fleet: Fleet, current: str, version: str, step: Step, judge: Judge, say: Say
) -> Outcome | None:
    """Keep a step for its time, and until the canary has passed; how the rollout ends if it does here."""
    until = time.monotonic() + step.pause
    said = ""
    while True:
        over = time.monotonic() >= until
        found = await judge.look(current, final=over)
        if found is not None and found.verdict == "Fail":
            await fleet.change_surely(_abort_if(version), say)
            return Outcome(False, f"{version} does worse and gets no new contexts any more: {found.reasons}")
        if not await _still(fleet, version, step.weight):
            return Outcome(False, f"somebody else changed the rollout of {version}; it is left as it is")
        if over and found is not None and found.verdict == "Pass":
            if found.reasons:
                say(f"passed: {found.reasons}")
            return None
        waiting = found.reasons if found is not None else "no figures yet"
        if over and waiting != said:
            said = waiting
            say(f"waiting: {said}")
        await asyncio.sleep(_POLL if over else min(_POLL, max(0.05, until - time.monotonic())))


def _abort_if(version: str) -> Callable[[Rollout], Rollout]:
    return lambda table: shifting.abort(table) if shifting.canary(table) == version else table


def _weight(table: Rollout, version: str) -> float:
    return next(
        (one.weight for one in table.versions if one.version == version and one.state == "Ramping"), 0.0
    )


async def _still(fleet: Fleet, version: str, weight: float) -> bool:
    try:
        table = await fleet.table()
    except RegistryUnavailable:
        return True
    return _weight(table, version) == weight


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
