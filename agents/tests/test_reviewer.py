"""The reviewer reports what a change brings in, and nothing that was there before."""

from pathlib import Path

import pytest
from repositories import repository, write
from workmaker import step, work_on

from parley_agents.artifacts import Verdict
from parley_agents.reviewer.rules import Review, RulesReviewer, level_of, new
from parley_agents.sarif import Result, document
from parley_agents.snapshot import snapshot
from parley_agents.workspace import open_workspace

SHELL = (
    "import subprocess\n\n\ndef run(command: str) -> int:\n    return subprocess.call(command, shell=True)\n"
)
CLEAN = "def f(x: int) -> int:\n    return x\n"


async def reviewed(
    tmp_path: Path,
    before: dict[str, str],
    after: dict[str, str],
    gone: tuple[str, ...] = (),
    goal: str = "",
    **inputs: object,
) -> Review:
    taken = await snapshot(repository(tmp_path / "r", before))
    async with open_workspace(taken.commit, [taken.bundle]) as work:
        write(work.path, after)
        for path in gone:
            (work.path / path).unlink()
        commit = await work.record("Edit\n")
        bundle = await work.bundle(commit, taken.commit)
    request = work_on(
        taken.commit,
        taken.bundle,
        bundle,
        goal=goal,
        change=commit,
        step=step(skill="review-change", **inputs),
    )
    return await RulesReviewer().review(request)


def found(review: Review) -> list[tuple[str, str, int, str]]:
    return [(r.rule, r.path, r.line, r.level) for r in review.results]


async def test_a_harmless_change_is_approved_without_findings(tmp_path: Path) -> None:
    review = await reviewed(tmp_path, {"a.py": CLEAN}, {"a.py": CLEAN.replace("x", "y")})
    assert (review.verdict.verdict, review.results) == ("approve", ())


async def test_code_that_cannot_work_is_refused_with_the_place(tmp_path: Path) -> None:
    review = await reviewed(
        tmp_path, {"a.py": CLEAN, "b.py": CLEAN}, {"a.py": "def f(:\n", "b.py": CLEAN + "\n\nz = nope\n"}
    )
    assert found(review) == [("invalid-syntax", "a.py", 1, "error"), ("F821", "b.py", 5, "error")]
    assert review.verdict.verdict == "request-changes"
    assert "b.py:5" in review.verdict.summary


async def test_new_security_problems_are_found_and_old_ones_left_alone(tmp_path: Path) -> None:
    review = await reviewed(tmp_path / "new", {"a.py": CLEAN}, {"a.py": SHELL})
    assert found(review) == [("S602", "a.py", 5, "error")]
    moved = "# a comment that moves every line\n\n" + SHELL
    review = await reviewed(tmp_path / "old", {"a.py": SHELL}, {"a.py": moved})
    assert found(review) == []
    assert review.verdict.suppressed == 1
    rewritten = SHELL.replace("command,", "f'{command}',")
    assert found(await reviewed(tmp_path / "rewritten", {"a.py": SHELL}, {"a.py": rewritten})) == []
    twice = SHELL + SHELL.partition("\n\n")[2].replace("run", "again")
    assert found(await reviewed(tmp_path / "twice", {"a.py": SHELL}, {"a.py": twice})) == [
        ("S602", "a.py", 8, "error")
    ]


async def test_what_the_project_ignores_or_has_marked_is_not_reported(tmp_path: Path) -> None:
    config = {"ruff.toml": "lint.ignore = ['S']\n", "a.py": CLEAN}
    assert found(await reviewed(tmp_path / "ignored", config, {"a.py": SHELL})) == []
    marked = SHELL.replace("shell=True)", "shell=True)  # noqa: S602")
    assert found(await reviewed(tmp_path / "marked", {"a.py": CLEAN}, {"a.py": marked})) == []


async def test_a_file_that_was_renamed_keeps_its_old_findings(tmp_path: Path) -> None:
    review = await reviewed(tmp_path, {"a.py": SHELL}, {"pkg/b.py": SHELL}, gone=("a.py",))
    assert found(review) == []


async def test_type_errors_count_where_mypy_is_configured_also_in_files_not_changed(tmp_path: Path) -> None:
    before = {
        "mypy.ini": "[mypy]\n",
        "pkg/__init__.py": "",
        "pkg/a.py": CLEAN,
        "pkg/b.py": "from pkg.a import f\n\ny: int = f(1)\nold: int = 'x'\n",
    }
    review = await reviewed(tmp_path, before, {"pkg/a.py": "def f(x: int) -> str:\n    return str(x)\n"})
    assert found(review) == [("mypy/assignment", "pkg/b.py", 3, "error")]
    assert review.tools == ("ruff", "mypy")
    del before["mypy.ini"]
    review = await reviewed(
        tmp_path / "without", before, {"pkg/a.py": "def f(x: int) -> str:\n    return str(x)\n"}
    )
    assert (found(review), review.tools) == ([], ("ruff",))


async def test_a_plugin_of_the_projects_mypy_settings_runs_in_the_sandbox_only(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    plugin = f"open({str(trap)!r}, 'w')\n"
    before = {"mypy.ini": "[mypy]\nplugins = evil.py\n", "evil.py": plugin, "a.py": CLEAN}
    await reviewed(tmp_path, before, {"a.py": CLEAN + "\n"})
    assert not trap.exists()


async def test_tests_may_be_changed_only_by_a_step_that_says_so(tmp_path: Path) -> None:
    before = {
        "tests/test_a.py": "def test_a():\n    assert f() == 1\n\n\ndef f():\n    return 1\n",
        "a.py": CLEAN,
    }
    after = {"tests/test_a.py": "def test_a():\n    pass\n"}
    assert found(await reviewed(tmp_path / "no", before, after)) == [
        ("parley/tests-changed", "tests/test_a.py", 0, "error")
    ]
    assert found(await reviewed(tmp_path / "yes", before, after, tests="writable")) == []
    assert found(await reviewed(tmp_path / "goal", before, after, goal="Fix lint, also the tests")) == []
    gone = await reviewed(tmp_path / "gone", before, {}, gone=("tests/test_a.py",), tests="writable")
    assert found(gone) == [("parley/test-removed", "tests/test_a.py", 0, "error")]


async def test_files_the_step_does_not_name_and_binaries_are_pointed_out(tmp_path: Path) -> None:
    before = {"a.py": CLEAN, "b.py": CLEAN}
    review = await reviewed(
        tmp_path, before, {"a.py": CLEAN + "\n", "b.py": CLEAN + "\n", "c.bin": "\0"}, files=["a.py"]
    )
    assert found(review) == [
        ("parley/outside-step", "b.py", 0, "error"),
        ("parley/outside-step", "c.bin", 0, "error"),
        ("parley/binary-file", "c.bin", 0, "warning"),
    ]


def test_only_the_surplus_of_a_rule_in_a_file_is_new() -> None:
    def at(line: int, text: str) -> Result:
        return Result("B1", "warning", "m", "a.py", line, text=text)

    before = [at(1, "one"), at(2, "two")]
    assert new(before, [at(7, "two"), at(9, "one")], {}) == []
    assert new(before, [at(1, "one"), at(2, "changed"), at(3, "three")], {}) == [at(3, "three")]
    assert new([], [at(1, "one"), at(1, "one")], {}) == [at(1, "one")]


def test_the_sarif_document_has_what_the_standard_requires() -> None:
    results = [
        Result("S602", "error", "shell", "a b.py", 5, 3, 5, 9, "x", "https://docs.astral.sh/ruff/rules/S602"),
        Result("parley/binary-file", "warning", "binary", "c.bin"),
    ]
    verdict = Verdict(verdict="request-changes", summary="s", findings=2, suppressed=0)
    sarif = document(results, verdict, tools=["ruff"], notes=["mypy was not run"])
    assert sarif["version"] == "2.1.0"
    (run,) = sarif["runs"]
    driver = run["tool"]["driver"]
    assert {"name", "version", "rules"} <= driver.keys()
    assert run["properties"]["parley"] == verdict.model_dump()
    assert run["invocations"][0]["executionSuccessful"] is True
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note", "none")
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        assert " " not in place["artifactLocation"]["uri"]
        region = place.get("region", {"startLine": 1, "startColumn": 1})
        assert region["startLine"] >= 1
        assert region["startColumn"] >= 1
    prints = [r["partialFingerprints"]["parley/v1"] for r in run["results"]]
    assert len(set(prints)) == 2


@pytest.mark.parametrize("rule", ["F821", "PLE0101", "S506", "invalid-syntax"])
def test_what_surely_fails_is_an_error(rule: str) -> None:
    assert level_of(rule) == "error"
    assert level_of("B007") == level_of("S324") == "warning"
