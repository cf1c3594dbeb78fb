"""One run of a repository's test suite in the sandbox, and what each test did in it."""

import asyncio
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from junitparser import Error, Failure, JUnitXml, JUnitXmlError, Skipped, TestCase, TestSuite

from parley_agents.process import in_thread
from parley_agents.project import Project, is_test
from parley_agents.sandbox import Bind, Confined, Limits, Sandbox
from parley_agents.settings import AgentSettings
from parley_agents.tester.environment import REPO, Environment
from parley_agents.workspace import scratch_copy

Outcome = Literal["passed", "failed", "error", "skipped"]
MAX_JUNIT = 32 * 1024 * 1024
MAX_MESSAGE = 4000
_INSIDE = Path(__file__).parent / "inside"
_WORST: tuple[Outcome, ...] = ("error", "failed", "passed", "skipped")
_NO_TESTS = 5
_USAGE = 4


@dataclass(frozen=True, slots=True)
class Command:
    """How a repository's tests are run: by pytest or unittest, from `start` ("" for its own configuration)."""

    runner: Literal["pytest", "unittest"]
    start: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """What came out of a run. `outcomes` and `messages` are by test id; `problem` says why there is no result."""

    outcomes: dict[str, Outcome]
    messages: dict[str, str]
    junit: str
    command: tuple[str, ...]
    seconds: float
    problem: str = ""

    def dump(self) -> str:
        """As JSON, for `load`."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> "Run":
        """What `dump` wrote."""
        data = json.loads(text)
        return cls(**{**data, "command": tuple(data["command"])})


def find_command(project: Project, files: Sequence[str]) -> Command | None:
    """How to run the tests of a repository; None when it has none.

    pytest runs nearly every suite, unittest's included; unittest is used where the project says so and nothing
    of it knows pytest.
    """
    tests = [path for path in files if is_test(path) and path.endswith(".py")]
    doctests = "doctest" in json.dumps(project.pyproject.get("tool", {}).get("pytest", {}))
    if not tests:
        return Command("pytest") if doctests else None
    hints = "".join(
        _read(project.root / name) for name in ("tox.ini", "noxfile.py", "Makefile", "setup.cfg", "setup.py")
    )
    texts = [_read(project.root / path) for path in tests[:500]]
    knows_pytest = project.pytest or "pytest" in hints or any("pytest" in text for text in texts)
    discoverable = any(re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", path) for path in tests)
    if (
        not knows_pytest
        and ("unittest" in hints or not discoverable)
        and any("unittest" in text for text in texts)
    ):
        folder = next((top for top in ("tests", "test") if (project.root / top).is_dir()), ".")
        return Command("unittest", folder)
    return Command("pytest")


class Suite:
    """The test suite of a repository in a prepared environment."""

    def __init__(
        self, command: Command, environment: Environment, sandbox: Sandbox, settings: AgentSettings
    ) -> None:
        self._command = command
        self._environment = environment
        self._sandbox = sandbox
        self._settings = settings

    async def run(self, files: Path, only: Collection[str] = ()) -> Run:
        """Run the suite (or the tests with the ids in `only`) on a fresh copy of `files`."""
        async with scratch_copy(files) as copy:
            out = copy.parent / "out"
            await asyncio.to_thread(out.mkdir)
            await in_thread(self._environment.lay_over, copy)
            if only:
                await asyncio.to_thread((out / "only").write_text, "\0".join(only), "utf-8")
            done, command = await self._start(copy, out, bool(only), plain=False)
            if self._command.runner == "pytest" and done.result.returncode == _USAGE:
                # Its options need a plugin that is not there: run without them.
                done, command = await self._start(copy, out, bool(only), plain=True)
            return await asyncio.to_thread(_read_run, done, out / "junit.xml", command)

    async def _start(
        self, copy: Path, out: Path, only: bool, *, plain: bool
    ) -> tuple[Confined, tuple[str, ...]]:
        confined = self._sandbox.kind != "none"
        root, results = (REPO, Path("/out")) if confined else (copy, out)
        tools = Path("/run/parley") if confined else _INSIDE
        variables = self._environment.variables(root)
        variables["PYTHONPATH"] = ":".join(filter(None, (variables.get("PYTHONPATH"), str(tools))))
        if only:
            variables["PARLEY_ONLY"] = str(results / "only")
        python, junit = str(self._environment.python), str(results / "junit.xml")
        if self._command.runner == "unittest":
            arguments = [python, str(tools / "run_unittest.py"), junit, self._command.start]
        else:
            arguments = [
                python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "parley_only", f"--junitxml={junit}",
                "-o", "junit_family=xunit2", "-o", "junit_logging=no",
                *(["-o", "addopts="] if plain else []),
            ]  # fmt: skip
        done = await self._sandbox.run(
            arguments,
            binds=[
                Bind(copy, REPO, writable=True),
                Bind(out, Path("/out"), writable=True),
                Bind(_INSIDE, Path("/run/parley")),
                Bind(self._environment.venv),
            ],
            cwd=root,
            env=variables,
            limits=Limits(
                seconds=self._settings.test_timeout,
                cpu_seconds=2 * self._settings.test_timeout,
                memory=self._settings.test_memory,
                processes=self._settings.test_processes,
            ),
        )
        shown = ["python", *(a for a in arguments[1:] if "junit" not in a and a not in ("-o", "parley_only"))]
        return done, tuple(shown)


def _read_run(done: Confined, path: Path, command: tuple[str, ...]) -> Run:
    seconds = done.result.seconds
    tail = " ".join((done.result.text + done.result.errors).split())[-800:]

    def failed(problem: str) -> Run:
        return Run({}, {}, "", command, seconds, problem)

    if done.exceeded:
        return failed(f"the tests were stopped: they passed the limit of {done.exceeded}")
    if not path.is_file() or path.is_symlink():
        if command[1:3] == ("-m", "pytest") and done.result.returncode == _NO_TESTS:
            return Run({}, {}, "", command, seconds)
        return failed(f"the tests did not run (exit {done.result.returncode}): {tail}")
    if path.stat().st_size > MAX_JUNIT:
        return failed(f"the tests' report is larger than {MAX_JUNIT // 2**20} MiB")
    text = path.read_text("utf-8", "replace")
    try:
        outcomes, messages = _outcomes(text)
    except (JUnitXmlError, SyntaxError, ValueError) as error:
        return failed(f"the tests' report cannot be read: {error}")
    if not outcomes and done.result.returncode not in (0, _NO_TESTS):
        return failed(f"the tests did not run (exit {done.result.returncode}): {tail}")
    return Run(outcomes, messages, text, command, seconds)


def _outcomes(text: str) -> tuple[dict[str, Outcome], dict[str, str]]:
    if "<!DOCTYPE" in text[:1000]:
        raise ValueError("it has a document type declaration")
    outcomes: dict[str, Outcome] = {}
    messages: dict[str, str] = {}
    document = JUnitXml.fromstring(text.encode())
    suites = [document] if isinstance(document, TestSuite) else list(document)
    for suite in suites:
        for case in suite:
            if not isinstance(case, TestCase):
                continue
            name = f"{case.classname or ''}::{case.name or ''}"
            outcome, message = _outcome(case)
            before = outcomes.get(name)
            if before is None or _WORST.index(outcome) < _WORST.index(before):
                outcomes[name], messages[name] = outcome, message
    return outcomes, {name: text for name, text in messages.items() if text}


def _outcome(case: TestCase) -> tuple[Outcome, str]:
    for result in case.result:
        said = f"{result.message or ''}\n{result.text or ''}".strip()
        # The end of a traceback says what happened; its beginning, where.
        message = (
            said
            if len(said) <= MAX_MESSAGE
            else f"{said[: MAX_MESSAGE // 2]}\n…\n{said[-MAX_MESSAGE // 2 :]}"
        )
        if isinstance(result, Error):
            return "error", message
        if isinstance(result, Failure):
            return "failed", message
        if isinstance(result, Skipped):
            return "skipped", ""
    return "passed", ""


def _read(path: Path) -> str:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > 2 * 1024 * 1024:
        return ""
    return path.read_text("utf-8", "replace")
