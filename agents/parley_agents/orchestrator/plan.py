"""The plan as a graph: is it one we can follow, in which order is it integrated, what can start now.

Steps run side by side, but their changes enter one line of commits in one order that follows from the plan
alone, never from who was faster. So a run repeated after a crash takes the same decisions.
"""

import heapq
from collections.abc import Collection, Mapping

from parley_agents.artifacts import SKILL_DELIVER, SKILL_PLAN, Plan, PlanStep

MAX_STEPS = 64
MAX_TEXT = 16_384
"""Characters of one step's instructions."""


def faults(plan: Plan) -> list[str]:
    """Everything that keeps a plan from being followed, in words; [] when it can be."""
    found = []
    if not plan.goal.strip():
        found.append("it has no goal")
    if len(plan.steps) > MAX_STEPS:
        found.append(f"it has {len(plan.steps)} steps, more than the {MAX_STEPS} allowed")
    ids = [step.id for step in plan.steps]
    found += [
        f"step id {one!r} is used more than once" for one in sorted({i for i in ids if ids.count(i) > 1})
    ]
    for step in plan.steps:
        if not step.skill.strip() or step.skill in (SKILL_PLAN, SKILL_DELIVER):
            found.append(f"step {step.id!r} asks for the skill {step.skill!r}, which no step may ask for")
        if len(step.instructions) > MAX_TEXT:
            found.append(f"step {step.id!r} has instructions of more than {MAX_TEXT} characters")
        found += [
            f"step {step.id!r} needs {need!r}, which is not a step" for need in step.needs if need not in ids
        ]
    if not found:
        left = set(ids) - set(order(plan))
        if left:
            found.append(f"steps {', '.join(sorted(left))} wait for each other in a circle")
    return found


def order(plan: Plan) -> tuple[str, ...]:
    """Step ids so that each stands after what it needs, otherwise as the plan lists them.

    This is the order in which changes are integrated. Steps in a circle are left out.
    """
    place = {step.id: n for n, step in enumerate(plan.steps)}
    waits = {step.id: len(set(step.needs)) for step in plan.steps}
    after: dict[str, list[str]] = {step.id: [] for step in plan.steps}
    for step in plan.steps:
        for need in set(step.needs):
            after[need].append(step.id)
    free = [place[one] for one, count in waits.items() if not count]
    heapq.heapify(free)
    found = []
    while free:
        step = plan.steps[heapq.heappop(free)]
        found.append(step.id)
        for later in after[step.id]:
            waits[later] -= 1
            if not waits[later]:
                heapq.heappush(free, place[later])
    return tuple(found)


def base_of(step: PlanStep, line: tuple[str, ...]) -> int:
    """How many steps of `line` (see `order`) must be integrated before this one starts; its base is what
    they amount to. 0: it starts from the snapshot itself."""
    return max((line.index(need) + 1 for need in step.needs), default=0)


def ready(plan: Plan, integrated: int, started: Collection[str]) -> list[PlanStep]:
    """The steps that can start when the first `integrated` steps of the order are, in that order."""
    line = order(plan)
    steps: Mapping[str, PlanStep] = {step.id: step for step in plan.steps}
    return [steps[one] for one in line if one not in started and base_of(steps[one], line) <= integrated]
