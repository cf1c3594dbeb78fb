"""Planning by rules: which groups of fixes would change this repository, measured in a scratch copy."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from parley_agents.artifacts import SKILL_EDIT, Plan, PlanStep
from parley_agents.planner.goal import Intent, cannot, understand
from parley_agents.project import RUFF_TARGETS, Project, editable, inspect, is_test
from parley_agents.role import Rejected, Work
from parley_agents.ruff import Finding, Ruff, known_rules
from parley_agents.rulegroups import FORMAT, Group
from parley_agents.workspace import Workspace, open_workspace


@dataclass(frozen=True, slots=True)
class Measured:
    """What one group would change: the rules that have something to fix, and the files they touch."""

    group: Group | None
    rules: tuple[str, ...]
    files: tuple[str, ...]


class RulesPlanner:
    """Makes a plan of one step for each rule group that changes something."""

    name = "rules"

    async def plan(self, work: Work) -> Plan:
        """The plan for a request. Raises Rejected when the goal is not one for rules."""
        async with open_workspace(work.base, work.bundles) as workspace:
            project = await asyncio.to_thread(inspect, workspace.path)
            goal = work.request.goal.strip() or work.request.step.instructions
            intent = understand(goal, project, await known_rules())
            if not intent.possible:
                raise Rejected(cannot(goal))
            files = editable(workspace.path, await workspace.files(), tests=intent.tests)
            await work.say(f"{len(files)} Python files to look at; {_version(project)}")
            ruff = Ruff(project)
            notes = [*project.notes, *intent.notes]
            measured = await self._measure(work, workspace, ruff, intent, project, files, notes)
            return _plan(goal, measured, intent, [*notes, *ruff.notes], project, len(files))

    async def _measure(
        self, work: Work, workspace: Workspace, ruff: Ruff, intent: Intent, project: Project, files: list[str],
        notes: list[str],
    ) -> list[Measured]:  # fmt: skip
        """Apply group after group, each on top of those before, and see what it changes."""
        found, clean = [], []
        for group in intent.groups:
            if group.rules[0].startswith("UP") and (project.python or RUFF_TARGETS[0]) < RUFF_TARGETS[0]:
                notes.append(
                    f"{group.id}: not planned, because Python {_dotted(project.python)} is supported"
                )
                continue
            if not await ruff.rules(group.rules, group.leave):
                notes.append(f"{group.id}: not planned, because the project's settings ignore its rules")
                continue
            chosen = [path for path in files if is_test(path)] if group.tests else files
            usable = ("safe", "unsafe") if intent.unsafe else ("safe",)
            findings = await ruff.check(group.rules, chosen, group.leave)
            fixable = {finding.rule for finding in findings if finding.fix in usable}
            await ruff.fix(sorted(fixable), chosen, unsafe=intent.unsafe)
            touched = await workspace.modified()
            if touched:
                await workspace.record(f"{group.id}\n")
                found.append(Measured(group, tuple(sorted(fixable)), tuple(touched)))
                await work.say(f"{group.id}: {_count(touched)}")
            elif findings:
                notes.append(f"{group.id}: not planned, because {_by_hand(findings)}")
            else:
                clean.append(group.id)
        if intent.format:
            await ruff.format(files)
            touched = await workspace.modified()
            if touched:
                found.append(Measured(None, (), tuple(touched)))
                await work.say(f"{FORMAT}: {_count(touched)}")
            else:
                clean.append(FORMAT)
        if clean and files:
            notes.append(f"nothing to change for {', '.join(clean)}: {_count(files)} looked at")
        return found


def _plan(
    goal: str, measured: list[Measured], intent: Intent, notes: list[str], project: Project, count: int
) -> Plan:
    steps: list[PlanStep] = []
    for one in measured:
        needs = [
            step.id
            for step, earlier in zip(steps, measured, strict=False)
            if set(earlier.files) & set(one.files)
        ]
        steps.append(_step(one, needs, intent))
    if not count:
        notes.append("there is no Python code here")
    touched = {path for one in measured for path in one.files}
    parallel = sum(1 for step in steps if not step.needs)
    summary = (
        f"{len(steps)} step{'s' if len(steps) != 1 else ''} over {_count(touched)}, {parallel} can start at once"
        if steps
        else "nothing to do"
    )
    return Plan(
        goal=goal,
        summary=f"{summary}; {_version(project)}",
        engine=RulesPlanner.name,
        steps=steps,
        notes=notes,
    )


def _step(one: Measured, needs: list[str], intent: Intent) -> PlanStep:
    inputs: dict[str, object] = {"files": list(one.files)}
    acceptance = [
        "no test that passed before fails",
        "the review has no new error",
        "every changed file still parses",
    ]
    if intent.tests:
        inputs["tests"] = "writable"
    if one.group is None:
        return PlanStep(
            id=FORMAT, title="Format the code", skill=SKILL_EDIT, needs=needs, acceptance=acceptance,
            instructions=f"Format {_count(one.files)} as the project's settings say.", inputs=inputs | {"format": True},
        )  # fmt: skip
    if intent.unsafe:
        inputs["unsafe"] = True
    return PlanStep(
        id=one.group.id,
        title=one.group.title,
        skill=SKILL_EDIT,
        needs=needs,
        instructions=f"{one.group.about} Rules: {', '.join(one.rules)}; in {_count(one.files)}.",
        inputs=inputs | {"rules": list(one.rules)},
        acceptance=acceptance,
    )


def _by_hand(findings: Sequence[Finding]) -> str:
    rules = ", ".join(sorted({finding.rule for finding in findings}))
    one = len(findings) == 1
    return f"{'its one finding has' if one else f'its {len(findings)} findings have'} no fix that is known to be safe ({rules})"


def _version(project: Project) -> str:
    if project.python is None:
        return f"it does not say which Python it needs, so {_dotted(project.target)} is assumed"
    return f"Python {_dotted(project.python)} and newer ({project.python_from})"


def _dotted(version: tuple[int, int] | None) -> str:
    return ".".join(map(str, version or ()))


def _count(files: Sequence[str] | set[str]) -> str:
    return f"{len(files)} file{'s' if len(files) != 1 else ''}"
