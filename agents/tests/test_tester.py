"""The tester runs the repository's own tests, confined, on base and change."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from repositories import repository, write
from workmaker import step, work_on

from parley_agents.role import Work
from parley_agents.sandbox import Sandbox
from parley_agents.settings import AgentSettings
from parley_agents.snapshot import snapshot
from parley_agents.tester import rules
from parley_agents.workspace import open_workspace
from parley_core.errors import ConfigurationError

CODE = "def double(x):\n    return 2 * x\n"
TESTS = """import unittest
from calc import double


class TestDouble(unittest.TestCase):
    def test_double(self):
        self.assertEqual(double(2), 4)

    def test_always_fails(self):
        self.fail("as ever")

    @unittest.skip("not today")
    def test_skipped(self):
        pass
"""
UNITTEST = {
    "calc.py": CODE,
    "tests/test_calc.py": TESTS,
    "Makefile": "test:\n\tpython -m unittest discover tests\n",
}


@pytest.fixture(autouse=True)
async def confinable() -> None:
    try:
        await Sandbox.choose("auto")
    except ConfigurationError as error:
        pytest.skip(str(error))


async def work_for(tmp_path: Path, before: dict[str, str], after: dict[str, str]) -> Work:
    taken = await snapshot(repository(tmp_path / "r", before))
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        write(work.path, after)
        commit = await work.record("Edit\n")
        bundle = await work.bundle(commit, taken.commit)
    home = tmp_path / "home"
    return work_on(taken.commit, taken.bundle, bundle, change=commit, step=step(skill="run-tests"), home=home)


def copies(folder: Path, pattern: str = "parley-copy-*/repo/calc.py") -> list[Path]:
    return list(folder.glob(pattern))


async def once(name: str, fn: Callable[[], Awaitable[str]]) -> str:
    return await fn()


async def judge(tmp_path: Path, before: dict[str, str], after: dict[str, str]) -> rules.Tested:
    return await rules.SuiteTester().test(await work_for(tmp_path, before, after), once)


async def test_a_unittest_suite_is_judged_without_anything_to_install(tmp_path: Path) -> None:
    done = await judge(tmp_path, UNITTEST, {"calc.py": CODE.replace("2 *", "3 *")})
    report = done.report
    assert (report.verdict, report.passed, report.failed, report.skipped) == ("broken", 0, 2, 1)
    (broken,) = report.broken
    assert broken.id == "test_calc.TestDouble::test_double"
    assert "6 != 4" in broken.message
    assert [case.id for case in report.still_failing] == ["test_calc.TestDouble::test_always_fails"]
    assert report.sandbox in ("bubblewrap", "namespaces")
    assert "unittest" in " ".join(report.command)
    assert len(ElementTree.fromstring(done.junit).findall(".//testcase")) == 3


async def test_a_good_change_passes_and_the_bases_result_is_used_again(tmp_path: Path) -> None:
    work = await work_for(tmp_path, UNITTEST, {"calc.py": CODE.replace("2 * x", "x + x")})
    assert (await rules.SuiteTester().test(work, once)).report.verdict == "passed"
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "home/results").iterdir()}
    assert len(kept) == 2
    assert (await rules.SuiteTester().test(work, once)).report.verdict == "passed"
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "home/results").iterdir()}
    assert sorted(kept) == sorted(again)
    assert len(set(kept.items()) & set(again.items())) == 1


async def test_a_flaky_test_is_not_held_against_the_change(tmp_path: Path) -> None:
    flaky = (
        "import os, time, unittest\n\n\nclass TestTime(unittest.TestCase):\n"
        "    def test_time(self):\n        self.assertTrue(os.environ.get('PARLEY_ONLY') or not os.path.exists('changed'))\n"
        "    def test_fine(self):\n        pass\n"
    )
    before = {"tests/test_time.py": flaky, "Makefile": "python -m unittest"}
    report = (await judge(tmp_path, before, {"changed": "yes"})).report
    assert (report.verdict, [case.id for case in report.flaky]) == (
        "passed",
        ["test_time.TestTime::test_time"],
    )


async def test_a_suite_that_never_ends_is_stopped_and_breaks_the_change(tmp_path: Path) -> None:
    work = await work_for(tmp_path, UNITTEST, {"calc.py": "import time\ntime.sleep(600)\n"})
    settings = AgentSettings(home=tmp_path / "home", test_timeout=3)
    work = Work(work.request, work.bundles, settings, work.exchange, work.say)
    report = (await rules.SuiteTester().test(work, once)).report
    assert (report.verdict, "limit of time" in report.summary) == ("broken", True)


async def test_tests_that_attack_find_no_network_no_home_and_no_other_copy(tmp_path: Path) -> None:
    attack = (
        "import os, pathlib, socket, unittest\n\n\nclass TestAttack(unittest.TestCase):\n"
        "    def test_network(self):\n"
        "        with self.assertRaises(OSError):\n            socket.create_connection(('192.0.2.1', 80), 2)\n"
        "    def test_files(self):\n"
        f"        self.assertFalse(os.path.exists({str(tmp_path / 'home/results')!r}))\n"
        "        self.assertEqual(sorted(os.listdir('/repo')), ['Makefile', 'tests'])\n"
        "        self.assertFalse(os.path.exists('/repo/.git'))\n"
    )
    before = {"tests/test_attack.py": attack, "Makefile": "python -m unittest"}
    report = (await judge(tmp_path, before, {"tests/test_attack.py": attack + "\n"})).report
    assert (report.verdict, report.passed, report.failed) == ("passed", 2, 0), report


async def test_no_tests_and_no_sandbox_are_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = (await judge(tmp_path / "none", {"calc.py": CODE}, {"calc.py": CODE + "\n"})).report
    assert report.verdict == "no-tests"

    async def refuse(wanted: str = "auto") -> Sandbox:
        raise ConfigurationError("no sandbox works here")

    monkeypatch.setattr(Sandbox, "choose", refuse)
    report = (await judge(tmp_path / "refused", UNITTEST, {"calc.py": CODE + "\n"})).report
    assert (report.verdict, report.summary, report.sandbox) == (
        "could-not-run",
        "no sandbox works here",
        "none",
    )


async def test_cancelling_stops_the_run_at_once_and_leaves_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    slow = UNITTEST | {"calc.py": "import time\ntime.sleep(60)\n"}
    work = await work_for(tmp_path, slow, {"calc.py": CODE})
    task = asyncio.create_task(rules.SuiteTester().test(work, once))
    deadline = time.monotonic() + 30
    while not copies(tmp_path) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 30
    assert not copies(tmp_path, "parley-*")


PACKAGE = {
    "pyproject.toml": (
        "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'calc-sample'\nversion = '3.2.1'\n[project.optional-dependencies]\ntest = ['iniconfig']\n"
        "[tool.pytest.ini_options]\naddopts = '--no-such-option'\n"
    ),
    "src/calc/__init__.py": CODE,
    "tests/test_calc.py": (
        "from importlib.metadata import version\nimport iniconfig, pytest\nfrom calc import double\n\n\n"
        "@pytest.mark.parametrize('x', [1, 2, 'a::b[c]'])\n"
        "def test_double(x):\n    assert double(x) == x + x\n    assert version('calc-sample') == '3.2.1'\n"
    ),
}


@pytest.mark.network
@pytest.mark.slow
async def test_a_package_is_installed_with_what_its_tests_need_and_run_by_pytest(tmp_path: Path) -> None:
    broken = "def double(x):\n    return x + x if isinstance(x, int) else x\n"
    done = await judge(tmp_path, PACKAGE, {"src/calc/__init__.py": broken})
    assert [case.id for case in done.report.broken] == ["tests.test_calc::test_double[a::b[c]]"], done.report
    assert done.report.passed == 2
    assert "pytest" in " ".join(done.report.command)


@pytest.mark.network
@pytest.mark.slow
async def test_dependencies_that_cannot_be_had_are_the_reason_given(tmp_path: Path) -> None:
    files = PACKAGE | {
        "pyproject.toml": PACKAGE["pyproject.toml"].replace(
            "[project.opt", "dependencies = ['iniconfig==0.0.0.1']\n[project.opt"
        )
    }
    report = (await judge(tmp_path, files, {"src/calc/__init__.py": CODE + "\n"})).report
    assert (report.verdict, "iniconfig" in report.summary) == ("could-not-run", True)


@pytest.mark.network
@pytest.mark.slow
async def test_code_of_the_package_never_runs_with_network_or_outside_of_the_sandbox(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    setup = (
        "import socket\nfrom setuptools import setup\n"
        f"try:\n    open({str(trap)!r}, 'w')\nexcept OSError:\n    pass\n"
        "try:\n    socket.create_connection(('192.0.2.1', 80), 2)\n    reached = 'yes'\nexcept OSError:\n    reached = 'no'\n"
        "open('reached.txt', 'w').write(reached)\nsetup(name='sly', version='1', py_modules=['sly'])\n"
    )
    files = {
        "setup.py": setup,
        "sly.py": "",
        "test_sly.py": "def test_a():\n    assert open('reached.txt').read() == 'no'\n",
    }
    report = (await judge(tmp_path, files, {"sly.py": "x = 1\n"})).report
    assert (report.verdict, report.passed) == ("passed", 1), report
    assert not trap.exists()
