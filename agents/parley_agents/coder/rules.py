"""Editing by rules: apply ruff's fixes to the files of a step, and take back what feedback says is at fault.

Everything follows from the request alone: the same base, step and feedback give the same commit. A round with
feedback repeats the step from its base with less in it. For each piece of feedback, in order, the files that it
names are left as they were; when review or tests name none, the larger half of what remains stays (first of the
rules, then of the files), so that a few rounds find the part that can be kept, and an empty step is the worst end.
A client is not guessed at: what its words do not name (a file, a rule, the step) stays in.
"""

import ast
import asyncio
import json
import re
import sys
import tokenize
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from textwrap import shorten

from parley_agents.artifacts import Change, Feedback, PlanStep
from parley_agents.coder.tidy import tidy
from parley_agents.project import Project, editable, inspect, is_test
from parley_agents.role import Rejected, Work
from parley_agents.ruff import Ruff
from parley_agents.rulegroups import BY_ID, FORMAT, GROUPS, Group
from parley_agents.workspace import Workspace, open_workspace


@dataclass(frozen=True, slots=True)
class Made:
    """A change in all its forms. `bundle` and `diff` are empty when nothing was changed."""

    change: Change
    bundle: bytes
    diff: bytes


@dataclass(slots=True)
class Scope:
    """What a step still covers. `withheld` says in words what was taken out, and why."""

    rules: list[str]
    files: list[str]
    format: bool
    unsafe: bool
    withheld: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.files or not (self.rules or self.format)


class RulesCoder:
    """Applies rule groups; see the module."""

    name = "rules"

    async def edit(self, work: Work) -> Made:
        """The change that a step asks for. Raises Rejected when the step is not one for rules."""
        step = work.request.step
        async with open_workspace(work.base, work.bundles) as workspace:
            project = await asyncio.to_thread(inspect, workspace.path)
            writable = step.inputs.get("tests") == "writable"
            allowed = editable(workspace.path, await workspace.files(), tests=writable)
            scope = _scope(step, allowed)
            ruff = Ruff(project)
            applied = await self._apply(workspace, ruff, scope, project)
            for feedback in work.request.feedback:
                if scope.empty or not applied:
                    break
                before = len(scope.withheld)
                reduce(scope, feedback, applied, step.id)
                if len(scope.withheld) == before:
                    continue
                await work.say(scope.withheld[-1])
                await workspace.checkout(work.base)
                applied = await self._apply(workspace, ruff, scope, project)
            return await self._made(workspace, work, scope, applied, ruff.notes)

    async def _apply(
        self, workspace: Workspace, ruff: Ruff, scope: Scope, project: Project
    ) -> dict[str, list[str]]:
        """Apply what is in scope; the rules applied in each file that changed. What no longer parses is undone."""
        applied: dict[str, list[str]] = {}
        if scope.rules and scope.files:
            usable = ("safe", "unsafe") if scope.unsafe else ("safe",)
            for finding in await ruff.check(scope.rules, scope.files):
                if finding.fix in usable:
                    applied.setdefault(finding.path, []).append(finding.rule)
            await ruff.fix(scope.rules, scope.files, unsafe=scope.unsafe)
            for path in await workspace.modified():
                if path in scope.files:
                    before = await workspace.read(workspace.commit, path)
                    await asyncio.to_thread(tidy, workspace.path / path, before)
        if scope.format and scope.files:
            await ruff.format(scope.files)
        changed = await workspace.modified()
        outside = [path for path in changed if path not in scope.files]
        broken = [
            path for path in changed if not await asyncio.to_thread(_parses, workspace.path, path, project)
        ]
        if outside or broken:
            await workspace.restore(workspace.commit, [*outside, *broken])
        for path in broken:
            scope.files.remove(path)
            scope.withheld.append(f"{path}: it did not parse any more after the fixes")
        kept = [path for path in changed if path not in outside and path not in broken]
        return {path: sorted(set(applied.get(path, [FORMAT]))) for path in kept}

    async def _made(
        self,
        workspace: Workspace,
        work: Work,
        scope: Scope,
        applied: dict[str, list[str]],
        notes: Sequence[str],
    ) -> Made:
        step = work.request.step
        rules = sorted({rule for found in applied.values() for rule in found})
        summary = (
            f"{', '.join(rules)} in {len(applied)} file{'s' if len(applied) != 1 else ''}"
            if applied
            else "nothing to change"
        )
        text = "\n".join([summary, *(f"Withheld: {one}" for one in scope.withheld), *notes])
        commit = await workspace.record(f"{step.title}\n\n{text}\n")
        change = Change(
            step=step.id,
            base=work.base,
            commit=commit,
            title=step.title,
            summary=text,
            engine=self.name,
            files=await workspace.changes(work.base, commit),
            rules=rules,
            withheld=scope.withheld,
        )
        if commit == work.base:
            return Made(change, b"", b"")
        diff = await workspace.diff(work.base, commit)
        return Made(
            change, await workspace.bundle(commit, work.base), diff.encode("utf-8", "surrogateescape")
        )


def _scope(step: PlanStep, allowed: list[str]) -> Scope:
    """What a step covers at first. Without rules in its inputs, its id or words must name a rule group."""
    inputs = step.inputs
    rules, files = inputs.get("rules"), inputs.get("files")
    formats = bool(inputs.get("format"))
    if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
        if rules is not None:
            raise Rejected("the step's inputs.rules must be a list of ruff rules, such as ['UP006']")
        groups: list[Group] = [] if formats else _groups(step)
        rules = [rule for group in groups for rule in group.rules]
        if not rules and not formats:
            offered = ", ".join([*BY_ID, FORMAT])
            raise Rejected(
                "this coder works by rules, without a model: give the step inputs.rules (ruff rules) or "
                f"inputs.format, or name one of the groups {offered}"
            )
    if not all(re.fullmatch(r"[A-Z]+[0-9]*", rule) for rule in rules):
        raise Rejected("the step's inputs.rules must be a list of ruff rules, such as ['UP006']")
    if files is not None and not isinstance(files, list):
        raise Rejected("the step's inputs.files must be a list of paths")
    chosen = allowed if files is None else [path for path in allowed if path in set(files)]
    scope = Scope(list(rules), chosen, formats, bool(inputs.get("unsafe")))
    if files is not None:
        for path in sorted(set(map(str, files)) - set(allowed)):
            reason = (
                "a test, and the step does not let tests be written"
                if is_test(path)
                else "not a file to edit here"
            )
            scope.withheld.append(f"{path}: {reason}")
    return scope


def _groups(step: PlanStep) -> list[Group]:
    if step.id in BY_ID:
        return [BY_ID[step.id]]
    text = f"{step.title}\n{step.instructions}".lower()
    return [g for g in GROUPS if g.id in text or any(re.search(w, text) for w in g.words)]


def reduce(scope: Scope, feedback: Feedback, applied: dict[str, list[str]], step: str) -> None:
    """Take out of `scope` what `feedback` holds against the change of `step` that `applied` describes."""
    why = f"{feedback.source}: {shorten(feedback.text, 300, placeholder=' …')}"
    rules = sorted({rule for found in applied.values() for rule in found if rule != FORMAT})
    if feedback.source == "client":
        _heed(scope, feedback.text, applied, rules, step, why)
        return
    named = sorted(_named(feedback, applied))
    if named:
        scope.files = [path for path in scope.files if path not in named]
        scope.withheld.append(f"{', '.join(named)}: named by {why}")
    elif len(rules) > 1:
        # The rules that change most are kept: what breaks tests is seldom what is applied everywhere.
        count = {rule: sum(rule in found for found in applied.values()) for rule in rules}
        ordered = sorted(rules, key=lambda rule: (-count[rule], rule))
        scope.rules = ordered[: len(ordered) // 2]
        scope.withheld.append(f"{', '.join(sorted(ordered[len(ordered) // 2 :]))}: {why}")
    elif len(applied) > 1:
        ordered = sorted(applied)
        out = ordered[len(ordered) // 2 :]
        scope.files = [path for path in scope.files if path not in out]
        scope.withheld.append(f"{', '.join(out)}: {why}")
    else:
        scope.withheld.append(f"the whole step: {why}")
        scope.files = []


def _heed(
    scope: Scope, text: str, applied: dict[str, list[str]], rules: list[str], step: str, why: str
) -> None:
    """Take out what a client names: the step, rules, files (by path or by name). Nothing named, nothing taken."""
    unwanted = [rule for rule in rules if re.search(rf"\b{rule}\b", text)]
    if re.search(rf"\b{step.replace('-', '[- ]')}\b", text, re.I) or (unwanted and unwanted == rules):
        scope.files = []
        scope.withheld.append(f"the whole step: {why}")
        return
    if unwanted:
        scope.rules = [rule for rule in rules if rule not in unwanted]
        scope.withheld.append(f"{', '.join(unwanted)}: {why}")
    named = [path for path in applied if _mentions(text, path)]
    named = named or [path for path in applied if _mentions(text, PurePosixPath(path).name)]
    if named:
        scope.files = [path for path in scope.files if path not in named]
        scope.withheld.append(f"{', '.join(sorted(named))}: named by {why}")


def _named(feedback: Feedback, applied: dict[str, list[str]]) -> set[str]:
    """The changed files that feedback points at: by location, by traceback, or by the name of the failing test."""
    text = json.dumps(feedback.findings, ensure_ascii=False) + feedback.text
    found = {path for path in applied if _mentions(text, path)}
    if found or feedback.source != "tests":
        return found
    tested = {_subject(str(case.get("id", ""))) for case in feedback.findings} - {""}
    return {path for path in applied if PurePosixPath(path).stem.lstrip("_") in tested}


def _mentions(text: str, path: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(path)}(?![\w-])", text) is not None


def _subject(test_id: str) -> str:
    """tests.test_parser.TestX::test_y is about `parser`."""
    for word in re.split(r"[.:/]+", test_id):
        if match := re.fullmatch(r"test_(\w+)|(\w+)_test", word):
            return match[1] or match[2]
    return ""


def _parses(root: Path, path: str, project: Project) -> bool:
    """Whether a file is still valid for the oldest Python supported, as far as the running one can judge."""
    place = root / path
    if not place.exists():
        return False
    if not path.endswith((".py", ".pyi")) or sys.version_info[:2] < project.target:
        return True
    version = project.target if project.python else sys.version_info[:2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with tokenize.open(place) as file:
                ast.parse(file.read(), path, feature_version=version)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True
