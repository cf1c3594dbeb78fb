"""One step, from its first round to accepted or taken back: coder ⇄ (reviewer ∥ tester)."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from a2a.types import a2a_pb2 as pb

from parley_agents.artifacts import (
    CHANGE,
    SKILL_EDIT,
    SKILL_REVIEW,
    SKILL_TEST,
    Change,
    Feedback,
    PlanStep,
    StepRequest,
)
from parley_agents.orchestrator.answers import (
    Changed,
    Reviewed,
    Tested,
    change_in,
    parts_of,
    review_in,
    tests_in,
)
from parley_agents.orchestrator.delegate import delegate
from parley_agents.orchestrator.errors import ChildFailed, NoAgent, OutOfTime
from parley_agents.orchestrator.job import Job
from parley_agents.orchestrator.line import Line
from parley_agents.orchestrator.order import Order
from parley_agents.orchestrator.questions import NeedsClient
from parley_agents.orchestrator.verdict import Decision, Judgement, after_round

ROLES = {SKILL_EDIT: "coder", SKILL_REVIEW: "reviewer", SKILL_TEST: "tester"}


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judges of a change said, and the documents they made."""

    judgement: Judgement
    review: Reviewed | None = None
    tests: Tested | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step. `commit` on top of `base` is its change when it is accepted.

    accepted: the change is in. unchanged: there was nothing to change. done: it was not to change anything.
    dropped: its change was taken back. skipped: it was never begun.
    """

    step: PlanStep
    what: Literal["accepted", "unchanged", "done", "dropped", "skipped"]
    reason: str
    rounds: int = 0
    base: str = ""
    commit: str = ""
    change: Change | None = None


@dataclass(slots=True)
class Team:
    """A job with the line its changes are put on, and what was judged so far."""

    job: Job
    line: Line
    goal: str
    judged: dict[tuple[str, str], Judged] = field(default_factory=dict)

    async def edit(self, step: PlanStep, base: str, key: str, feedback: Sequence[Feedback] = ()) -> Outcome:
        """Work on a step from `base` until it is accepted, or cannot be. `key` names this within the task.

        Raises NeedsClient, and NoAgent when nobody can edit code at all.
        """
        told = list(feedback)
        refused: set[str] = set()
        said = ""
        number = 0
        for number in range(1, self.job.options.rounds + 1):
            try:
                changed = await self._change(step, base, key, number, told)
            except (ChildFailed, OutOfTime) as error:
                reason = str(error) + (f" (round {number}; before: {said})" if said else "")
                return Outcome(step, "dropped", reason, number)
            except NoAgent as error:
                if step.skill == SKILL_EDIT and not error.registered:
                    raise
                return Outcome(step, "skipped", str(error), number)
            if changed is None:
                return Outcome(step, "done", "it made no change, and was not refused", number)
            change = changed.change
            if change.commit == base:
                if said:
                    return Outcome(step, "dropped", f"nothing was left of it after feedback: {said}", number)
                return Outcome(step, "unchanged", change.summary.strip() or "nothing to change", number)
            judged = await self.judge(step, base, change.commit, key, number)
            decision = await self._decide(judged.judgement, key, number, change.commit in refused)
            if decision.what == "accept":
                return Outcome(step, "accepted", decision.reason, number, base, change.commit, change)
            refused.add(change.commit)
            said = decision.reason
            if decision.what == "drop":
                break
            await self.job.relay.again(step.id, said[:500])
            told = [*told, *judged.judgement.objections]
        return Outcome(step, "dropped", said, number)

    async def judge(self, step: PlanStep, base: str, commit: str, key: str, number: int) -> Judged:
        """Have a change reviewed and tested, both at once; the same pair of commits only once in a task."""
        if (base, commit) in self.judged:
            return self.judged[base, commit]
        results = await asyncio.gather(
            self._review(step, base, commit, key, number),
            self._test(step, base, commit, key, number),
            return_exceptions=True,
        )
        missing = []
        for result in results:
            if isinstance(result, (NoAgent, ChildFailed, OutOfTime)):
                role = "review" if result is results[0] else "test run"
                missing.append(f"there was no {role}: {result}")
            elif isinstance(result, BaseException) and not isinstance(result, NeedsClient):
                raise result
        for result in results:
            if isinstance(result, NeedsClient):
                raise result
        review = results[0] if isinstance(results[0], Reviewed) else None
        tests = results[1] if isinstance(results[1], Tested) else None
        judgement = Judgement(
            review=review.verdict if review else None,
            findings=review.results if review else (),
            tests=tests.report if tests else None,
            missing=tuple(missing),
        )
        judged = self.judged[base, commit] = Judged(judgement, review, tests)
        return judged

    async def check(self, step: PlanStep, commit: str, key: str) -> Outcome:
        """A step that only looks: a review or a test run of all there is so far."""
        base = self.line.snapshot
        try:
            if step.skill == SKILL_REVIEW:
                verdict = (await self._review(step, base, commit, key, 1)).verdict
                return Outcome(step, "done", f"{verdict.verdict}: {verdict.summary}", 1)
            report = (await self._test(step, base, commit, key, 1)).report
            return Outcome(step, "done", f"{report.verdict}: {report.summary}", 1)
        except (NoAgent, ChildFailed, OutOfTime) as error:
            return Outcome(step, "skipped", str(error))

    async def _change(
        self, step: PlanStep, base: str, key: str, number: int, feedback: Sequence[Feedback]
    ) -> Changed | None:
        base_ref, _, bundles = await self.line.bundles(base)
        request = StepRequest(
            goal=self.goal,
            step=step,
            base=base_ref,
            round=number,
            feedback=list(feedback),
            options=self.job.options.for_children,
        )
        role = ROLES.get(step.skill, step.skill)
        until, longest = self.job.steps_until, self.job.options.step_seconds
        order = Order(key, role, step.skill, request, bundles, until, longest)

        async def read(task: pb.Task) -> Changed | None:
            if step.skill != SKILL_EDIT and not any(part.media_type == CHANGE for part in parts_of(task)):
                return None
            changed = await change_in(task, base, self.job.exchange)
            await self.line.take(changed)
            return changed

        return await delegate(self.job, order, read)

    async def _review(self, step: PlanStep, base: str, commit: str, key: str, number: int) -> Reviewed:
        async def read(task: pb.Task) -> Reviewed:
            return review_in(task)

        return await delegate(
            self.job, await self._order(SKILL_REVIEW, step, base, commit, key, number), read
        )

    async def _test(self, step: PlanStep, base: str, commit: str, key: str, number: int) -> Tested:
        async def read(task: pb.Task) -> Tested:
            return tests_in(task)

        return await delegate(self.job, await self._order(SKILL_TEST, step, base, commit, key, number), read)

    async def _order(
        self, skill: str, step: PlanStep, base: str, commit: str, key: str, number: int
    ) -> Order:
        base_ref, change_ref, bundles = await self.line.bundles(base, commit)
        request = StepRequest(
            goal=self.goal,
            step=step,
            base=base_ref,
            change=change_ref,
            round=number,
            options=self.job.options.for_children,
        )
        until, longest = self.job.deadline, self.job.options.step_seconds
        return Order(key, ROLES[skill], skill, request, bundles, until, longest)

    async def _decide(self, judgement: Judgement, key: str, number: int, repeated: bool) -> Decision:
        """Decided once and kept: it depends on the time that is left."""

        async def decide() -> dict[str, str]:
            decision = after_round(
                judgement,
                number=number,
                rounds=self.job.options.rounds,
                seconds_left=self.job.steps_until - time.time(),
                repeated=repeated,
            )
            return asdict(decision)

        kept = await self.job.journal.once(f"decided:{key}.r{number}", decide)
        return Decision(what=kept["what"], reason=kept["reason"])  # type: ignore[arg-type]
