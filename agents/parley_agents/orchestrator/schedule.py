"""Carrying out a plan: every step that can run runs, and their changes enter the line one after another."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from parley_agents.artifacts import SKILL_REVIEW, SKILL_TEST, Feedback, Plan, PlanStep
from parley_agents.orchestrator.loop import Outcome, Team
from parley_agents.orchestrator.plan import base_of, order, ready
from parley_agents.orchestrator.questions import NeedsClient


@dataclass(slots=True)
class Carried:
    """A plan carried out: the outcome of each step in the order of the line, and the commit they amount to."""

    outcomes: list[Outcome]
    head: str


@dataclass(slots=True)
class Schedule:
    """One run through a plan. `take` counts the runs of a task (the client may send a change back)."""

    team: Team
    plan: Plan
    take: int = 1
    feedback: Sequence[Feedback] = ()
    _running: dict[str, "asyncio.Task[Outcome]"] = field(default_factory=dict)
    _finished: dict[str, Outcome] = field(default_factory=dict)
    _questions: dict[str, NeedsClient] = field(default_factory=dict)

    async def run(self) -> Carried:
        """Work until every step is settled.

        A question to the client is raised (NeedsClient) only when nothing can go on without its answer.
        """
        line = order(self.plan)
        steps = {step.id: step for step in self.plan.steps}
        heads = [self.team.line.start.commit]
        started: set[str] = set()
        settled: list[Outcome] = []
        try:
            while len(settled) < len(line):
                for step in ready(self.plan, len(settled), started):
                    started.add(step.id)
                    self._start(step, heads[base_of(step, line)], self._key(step.id))
                due = steps[line[len(settled)]]
                if due.id in self._finished:
                    outcome, head = await self._integrate(self._finished.pop(due.id), heads[-1])
                    if head:
                        heads.append(head)
                        settled.append(outcome)
                        await self._tell(outcome)
                    else:
                        await self.team.job.relay.say(
                            f"{due.id} conflicts with what came before: done again on top"
                        )
                        self._start(due, heads[-1], self._key(due.id) + "~again")
                    continue
                if not self._running:
                    raise next(self._questions[one] for one in line if one in self._questions)
                await self._wait()
        finally:
            await self._stop()
        return Carried(settled, heads[-1])

    def _key(self, step: str) -> str:
        return step if self.take == 1 else f"{step}~take{self.take}"

    def _start(self, step: PlanStep, base: str, key: str) -> None:
        if step.skill in (SKILL_REVIEW, SKILL_TEST):
            work = self.team.check(step, base, key)
        else:
            work = self.team.edit(step, base, key, self.feedback)
        self._running[step.id] = asyncio.create_task(work, name=f"step:{key}")

    async def _wait(self) -> None:
        await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_COMPLETED)
        for one in [name for name, task in self._running.items() if task.done()]:
            task = self._running.pop(one)
            try:
                self._finished[one] = task.result()
            except NeedsClient as question:
                self._questions[one] = question

    async def _integrate(self, outcome: Outcome, head: str) -> tuple[Outcome, str]:
        """The outcome and the new head; no head when the change conflicts and must be made again on top."""
        if outcome.what != "accepted":
            return outcome, head
        onto = await self.team.line.put(outcome.commit, outcome.base, head)
        if onto is None:
            return outcome, ""
        if onto == head:
            return replace(outcome, what="unchanged", reason="what it does was done by an earlier step"), head
        return replace(outcome, base=head, commit=onto), onto

    async def _tell(self, outcome: Outcome) -> None:
        await self.team.job.relay.settled(outcome.step.id, outcome.what, outcome.reason)

    async def _stop(self) -> None:
        """Let go of what still runs here; the children themselves go on and are found again."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
