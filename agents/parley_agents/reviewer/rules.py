"""Review by rules: what static analysis finds in the change and did not find in its base.

| what | level |
|---|---|
| code that cannot run or surely fails: syntax, undefined names, wrong formats (E9, F5–F8, PLE) | error |
| a type error that mypy reports only with the change | error |
| security (bandit) of high weight: exec, shell, unsafe loading, disabled verification | error |
| tests changed or removed without leave, files outside of the step | error |
| likely bugs (B), other security rules | warning |

Two findings are the same when rule, file and the text of the line agree; what is left over on both sides for a
rule in a file is paired off too, because a rewritten line keeps its old weaknesses. So only a surplus is new.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parley_agents.artifacts import PlanStep, Verdict
from parley_agents.planner.goal import wants_tests
from parley_agents.project import Project, inspect, is_foreign, is_test
from parley_agents.reviewer.typecheck import TypeCheck
from parley_agents.role import Work
from parley_agents.ruff import Finding, Ruff
from parley_agents.sarif import Level, Result
from parley_agents.workspace import Entry, Workspace, open_workspace

MAX_RESULTS = 100

_RULES = ("E9", "F", "B", "S", "PLE")
_TEST_RULES = ("E9", "F", "PLE")
_LEAVE = (
    "F401", "F841",  # untidy, not wrong
    "B904", "B905", "B028", "B006", "B008", "B018",  # matters of taste, or as old as the code they come with
    "S101", "S110", "S112", "S311", "S603", "S607", "S404", "S403", "S105", "S106", "S107",  # mostly false alarms
)  # fmt: skip
_ERRORS = (
    "invalid-syntax", "E9", "F5", "F6", "F7", "F82", "F811", "PLE",
    "S102", "S301", "S302", "S307", "S323", "S501", "S506", "S602", "S604", "S605", "S701",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Review:
    """The outcome of a review. `notes` say what could not be looked at."""

    verdict: Verdict
    results: tuple[Result, ...]
    tools: tuple[str, ...]
    notes: tuple[str, ...] = ()


class RulesReviewer:
    """Compares what static analysis says of base and change; see the module."""

    name = "rules"

    async def review(self, work: Work) -> Review:
        """The review of a change against its base."""
        async with open_workspace(work.base, work.bundles) as workspace:
            await workspace.checkout(work.change)
            entries = await workspace.entries(work.base, work.change)
            await work.say(f"{len(entries)} file{'s' if len(entries) != 1 else ''} to review")
            policy = conduct(entries, work.request.step, work.request.goal)
            files = _python(entries)
            renamed = {entry.path: entry.old_path for entry in entries}
            after, project, notes = await self._analyse(workspace, files)
            types = TypeCheck(project, work.settings)
            after += await types.run()
            if project.mypy:
                await work.say("types checked on the change; now the base")
            await workspace.checkout(work.base)
            before, earlier, _ = await self._analyse(workspace, [renamed[path] for path in files])
            if after_types := [r for r in after if r.rule.startswith("mypy/")]:
                before += await TypeCheck(earlier, work.settings).run()
                notes += [f"mypy: {len(after_types)} errors in all on the change"]
            fresh = new(before, after, renamed)
        known = Counter(result.rule for result in after)
        kept = [*policy, *fresh][:MAX_RESULTS]
        errors = [result for result in kept if result.level == "error"]
        verdict = Verdict(
            verdict="request-changes" if errors else "approve",
            summary=_summary(kept, errors),
            findings=len(kept),
            suppressed=sum(known.values()) - len(fresh),
        )
        return Review(
            verdict, tuple(kept), ("ruff", *(["mypy"] if project.mypy else [])), (*notes, *types.notes)
        )

    async def _analyse(
        self, workspace: Workspace, files: Sequence[str]
    ) -> tuple[list[Result], Project, list[str]]:
        project = await asyncio.to_thread(inspect, workspace.path)
        ruff = Ruff(project)
        there = [path for path in files if (workspace.path / path).is_file()]
        code = [path for path in there if not is_test(path)]
        tests = [path for path in there if is_test(path)]
        found = await ruff.check(_RULES, code, _LEAVE) + await ruff.check(_TEST_RULES, tests, _LEAVE)
        return await asyncio.to_thread(_results, workspace.path, found), project, list(ruff.notes)


def conduct(entries: Sequence[Entry], step: PlanStep, goal: str = "") -> list[Result]:
    """What the change may not do whatever is in it: touch tests without leave, leave its step, hide in binaries.

    Leave to write tests is given by the step, or by the goal itself when the change as a whole is judged.
    """
    writable = step.inputs.get("tests") == "writable" or wants_tests(goal)
    listed = step.inputs.get("files")
    allowed = {path for path in listed if isinstance(path, str)} if isinstance(listed, list) else None
    found = []
    for entry in entries:
        if (
            is_test(entry.old_path)
            and entry.status in "DR"
            and not is_test(entry.path if entry.status == "R" else "")
        ):
            found.append(
                Result("parley/test-removed", "error", "The change removes a test file.", entry.old_path)
            )
        elif not writable and (is_test(entry.path) or is_test(entry.old_path)):
            text = "The change edits tests, and the step does not let it."
            found.append(Result("parley/tests-changed", "error", text, entry.path))
        elif allowed is not None and not {entry.path, entry.old_path} <= allowed:
            text = "The change touches a file that the step does not name."
            found.append(Result("parley/outside-step", "error", text, entry.path))
        if entry.binary and entry.status != "D":
            text = "The change writes a binary file, which cannot be reviewed."
            found.append(Result("parley/binary-file", "warning", text, entry.path))
    return found


def new(before: Sequence[Result], after: Sequence[Result], renamed: dict[str, str]) -> list[Result]:
    """The results in `after` that have no counterpart in `before`. `renamed` maps new paths to old ones."""
    left: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in before:
        left[result.rule, result.path].append(result)
    remaining = []
    for result in after:
        pool = left[result.rule, renamed.get(result.path, result.path)]
        same = next((one for one in pool if one.text == result.text), None)
        if same is None:
            remaining.append(result)
        else:
            pool.remove(same)
    fresh, seen = [], set()
    for result in remaining:
        pool = left[result.rule, renamed.get(result.path, result.path)]
        if pool:
            pool.pop(0)
        elif (key := (result.rule, result.path, result.line, result.message)) not in seen:
            seen.add(key)
            fresh.append(result)
    return sorted(fresh, key=lambda r: (r.level != "error", r.path, r.line, r.rule))


def level_of(rule: str) -> Level:
    """How much a ruff rule weighs in a review."""
    return "error" if rule.startswith(_ERRORS) else "warning"


def _results(root: Path, findings: Sequence[Finding]) -> list[Result]:
    lines: dict[str, list[str]] = {}
    results = []
    unreadable: set[str] = set()
    for f in findings:
        # After the first syntax error of a file, what else is said of it are consequences.
        if f.path in unreadable:
            continue
        if f.rule == "invalid-syntax":
            unreadable.add(f.path)
        if f.path not in lines:
            lines[f.path] = (root / f.path).read_text("utf-8", "replace").splitlines()
        text = lines[f.path][f.line - 1] if 0 < f.line <= len(lines[f.path]) else ""
        results.append(
            Result(
                rule=f.rule, level=level_of(f.rule), message=f.message, path=f.path, line=f.line, column=f.column,
                end_line=f.end_line, end_column=f.end_column, text=" ".join(text.split()), help=f.url,
            )
        )  # fmt: skip
    return results


def _python(entries: Sequence[Entry]) -> list[str]:
    return [
        entry.path
        for entry in entries
        if entry.status != "D"
        and not entry.binary
        and entry.path.endswith((".py", ".pyi"))
        and not is_foreign(entry.path)
    ]


def _summary(kept: Sequence[Result], errors: Sequence[Result]) -> str:
    if not kept:
        return "no new findings"
    named = "; ".join(f"{r.rule} {r.path}:{r.line} {r.message}" for r in (errors or kept)[:5])
    return f"{len(errors)} errors, {len(kept) - len(errors)} warnings: {named}"
