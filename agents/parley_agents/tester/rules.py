"""Testing a change: the same suite on base and change, and what differs run again before it is believed."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from parley_agents.artifacts import TestReport
from parley_agents.project import inspect, is_test
from parley_agents.role import Work
from parley_agents.sandbox import Sandbox
from parley_agents.settings import AgentSettings
from parley_agents.tester.compare import differing, report
from parley_agents.tester.environment import Environment, EnvironmentFailed, prepare
from parley_agents.tester.suite import Command, Outcome, Run, Suite, find_command
from parley_agents.workspace import Workspace, open_workspace
from parley_core.errors import ConfigurationError

Once = Callable[[str, Callable[[], Awaitable[str]]], Awaitable[str]]
"""Runs a named part once however often the execution is started again."""


@dataclass(frozen=True, slots=True)
class Tested:
    """A report, and the JUnit document of the run on the change ("" when there was none)."""

    report: TestReport
    junit: str


class SuiteTester:
    """Judges changes by the repository's own tests."""

    name = "rules"

    async def test(self, work: Work, once: Once) -> Tested:
        """Run the tests on base and change and compare."""
        try:
            sandbox = await Sandbox.choose(work.settings.sandbox)
        except ConfigurationError as error:
            return _could_not(str(error), "none")
        async with open_workspace(work.base, work.bundles, symlinks=True) as workspace:
            project = await asyncio.to_thread(inspect, workspace.path)
            files = await workspace.files()
            command = find_command(project, files)
            if command is None:
                return Tested(
                    TestReport(verdict="no-tests", summary="there are no tests", sandbox=sandbox.kind), ""
                )
            await work.say(f"preparing an environment for {command.runner} ({sandbox.kind} sandbox)")
            tests = [path for path in files if is_test(path)]
            try:
                environment = await prepare(project, tests, command.runner, sandbox, work.settings)
            except EnvironmentFailed as error:
                return _could_not(str(error), sandbox.kind)
            suite = Suite(command, environment, sandbox, work.settings)
            kept = _Kept(work.settings, environment, command, workspace)

            async def on_base() -> str:
                found = await kept.read(work.base)
                if found is None:
                    await work.say("running the tests on the base")
                    found = await suite.run(workspace.path)
                    await kept.write(work.base, found)
                return found.dump()

            async def on_change() -> str:
                await work.say("running the tests on the change")
                await workspace.checkout(work.change)
                found = await suite.run(workspace.path)
                await kept.write(work.change, found)
                return found.dump()

            base = Run.load(await once("base-tests", on_base))
            if base.problem or not base.outcomes:
                return Tested(report(base, base, sandbox=sandbox.kind, notes=environment.notes), "")
            await work.say(_words("base", base))
            change = Run.load(await once("change-tests", on_change))
            await work.say(_words("change", change))
            again = await self._again(work, workspace, suite, base, change)
            judged = report(
                base,
                change,
                base_again=again[0],
                change_again=again[1],
                sandbox=sandbox.kind,
                notes=environment.notes,
            )
            return Tested(judged, change.junit)

    async def _again(
        self, work: Work, workspace: Workspace, suite: Suite, base: Run, change: Run
    ) -> tuple[list[dict[str, Outcome]], list[dict[str, Outcome]]]:
        """Repeated runs of the tests that differ, on both sides, until each was seen to go both ways or the
        repetitions are spent."""
        runs: tuple[list[dict[str, Outcome]], list[dict[str, Outcome]]] = ([], [])
        if base.problem or change.problem:
            return runs
        open_questions = set(differing(base, change))
        for number in range(work.settings.test_reruns):
            if not open_questions:
                break
            await work.say(f"running {len(open_questions)} differing tests again ({number + 1})")
            for commit, first, kept in ((work.change, change, runs[1]), (work.base, base, runs[0])):
                await workspace.checkout(commit)
                result = await suite.run(workspace.path, sorted(open_questions))
                kept.append(dict(result.outcomes))
                open_questions -= {
                    name
                    for name, outcome in result.outcomes.items()
                    if (outcome == "passed") != (first.outcomes.get(name) == "passed")
                }
        return runs


class _Kept:
    """Results of earlier runs by content: the same files in the same environment give the same answer."""

    def __init__(
        self, settings: AgentSettings, environment: Environment, command: Command, workspace: Workspace
    ) -> None:
        self._folder = (settings.home / "results").absolute()
        self._environment = environment
        self._command = command
        self._workspace = workspace

    async def read(self, commit: str) -> Run | None:
        path = await self._path(commit)
        return Run.load(await asyncio.to_thread(path.read_text, "utf-8")) if path.is_file() else None

    async def write(self, commit: str, run: Run) -> None:
        if run.problem:
            return
        path = await self._path(commit)
        draft = path.with_suffix(f".{id(run)}.draft")
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(draft.write_text, run.dump(), "utf-8")
        await asyncio.to_thread(draft.replace, path)

    async def _path(self, commit: str) -> Path:
        tree = (await self._workspace.git("rev-parse", f"{commit}^{{tree}}")).decode().strip()
        key = hashlib.sha256(f"{tree} {self._environment.key} {self._command}".encode()).hexdigest()[:40]
        return self._folder / f"{key}.json"


def _could_not(reason: str, sandbox: str) -> Tested:
    return Tested(TestReport(verdict="could-not-run", summary=reason, sandbox=sandbox), "")


def _words(side: str, run: Run) -> str:
    if run.problem:
        return f"{side}: {run.problem[:300]}"
    states = list(run.outcomes.values())
    return f"{side}: {states.count('passed')} of {len(states)} tests passed in {run.seconds:.1f} s"
