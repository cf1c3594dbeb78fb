"""The end of a task: the whole change judged once more, what does not hold together taken back."""

from dataclasses import dataclass, replace

from parley_agents.artifacts import SKILL_EDIT, Change, PlanStep
from parley_agents.orchestrator.loop import Judged, Outcome, Team
from parley_agents.orchestrator.schedule import Carried
from parley_agents.orchestrator.verdict import Judgement, Kept, doubts, suspect


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is handed to the client. `doubts` says why it does not count as verified; none: it does."""

    commit: str
    outcomes: tuple[Outcome, ...]
    judged: Judged
    doubts: tuple[str, ...]
    empty: bool

    @property
    def verified(self) -> bool:
        """Whether the final test run and review stand behind it, or there was nothing to do."""
        return not self.doubts

    @property
    def accepted(self) -> list[Outcome]:
        """The steps whose changes are in it."""
        return [one for one in self.outcomes if one.what == "accepted"]

    @property
    def left_out(self) -> list[Outcome]:
        """The steps that could not be done."""
        return [one for one in self.outcomes if one.what in ("dropped", "skipped")]


async def verify(team: Team, carried: Carried, key: str) -> Delivery:
    """Judge what all steps amount to against the client's snapshot.

    While tests or review object to the whole although every change was fine alone, the most suspect change
    is taken back (see `suspect`) and the rest judged again, as often as there are rounds.
    """
    outcomes, head = list(carried.outcomes), carried.head
    judged = Judged(Judgement())
    for number in range(1, team.job.options.rounds + 2):
        if head == team.line.snapshot:
            return _nothing(head, outcomes)
        await team.job.relay.say("final check of the whole change")
        judged = await team.judge(_whole(team.goal, outcomes), team.line.snapshot, head, key, number)
        objections = judged.judgement.objections
        kept = [one for one in outcomes if one.what == "accepted"]
        if not objections or not kept or number > team.job.options.rounds:
            break
        named = [Kept(one.step.id, await team.line.files(one.base, one.commit)) for one in kept]
        step = suspect(judged.judgement, named)
        said = "; ".join(one.text.strip() for one in objections)
        outcomes, head = await _without(team, outcomes, step, f"taken back at the final check: {said}")
        for one in outcomes:
            if one.what == "dropped" and one.step.id in {each.step.id for each in kept}:
                await team.job.relay.settled(one.step.id, one.what, one.reason)
    found = doubts(judged.judgement, allow_untested=team.job.options.allow_untested)
    return Delivery(head, tuple(outcomes), judged, tuple(found), empty=False)


def _whole(goal: str, outcomes: list[Outcome]) -> PlanStep:
    """All accepted steps as one: what any of them was let do, the whole may."""
    writable = any(one.what == "accepted" and one.step.inputs.get("tests") == "writable" for one in outcomes)
    inputs = {"tests": "writable"} if writable else {}
    return PlanStep(id="final", title="The whole change", skill=SKILL_EDIT, instructions=goal, inputs=inputs)


def _nothing(head: str, outcomes: list[Outcome]) -> Delivery:
    left = [f"{one.step.id}: {one.reason}" for one in outcomes if one.what in ("dropped", "skipped")]
    found = ("nothing could be kept: " + "; ".join(left),) if left else ()
    return Delivery(head, tuple(outcomes), Judged(Judgement()), found, empty=True)


async def _without(team: Team, outcomes: list[Outcome], step: str, reason: str) -> tuple[list[Outcome], str]:
    """The line again without one step's change; later ones that cannot stand without it go too."""
    head = team.line.start.commit
    remade: list[Outcome] = []
    for outcome in outcomes:
        if outcome.what != "accepted":
            remade.append(outcome)
        elif outcome.step.id == step:
            remade.append(replace(outcome, what="dropped", reason=reason))
        else:
            onto = await team.line.put(outcome.commit, outcome.base, head)
            if onto is None:
                why = f"taken back with {step}, on whose change it builds"
                remade.append(replace(outcome, what="dropped", reason=why))
            else:
                remade.append(replace(outcome, base=head, commit=onto))
                head = onto
    return remade, head


def title(change: Change | None, fallback: str) -> str:
    """What a change calls itself, on one line."""
    return (change.title.strip().splitlines() or [fallback])[0] if change else fallback
