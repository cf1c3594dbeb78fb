"""What tests need is read from a repository's files; where it comes from is not for the repository to say."""

from pathlib import Path

import pytest
from repositories import write

from parley_agents.project import inspect
from parley_agents.tester.requirements import Needs, needs
from parley_agents.tester.suite import Command, find_command


def wanted(root: Path, files: dict[str, str], runner: str = "pytest") -> Needs:
    write(root, files)
    return needs(inspect(root), [name for name in files if "test" in name], runner)


PYPROJECT = """
[build-system]
requires = ["hatchling>=1"]
[project]
name = "own-name"
version = "1"
dependencies = ["attrs>=20", "own_name[extra]", "local @ file:///etc"]
[project.optional-dependencies]
tests = ["hypothesis"]
docs = ["sphinx"]
[dependency-groups]
dev = ["coverage", {include-group = "lint"}]
lint = ["ruff"]
[tool.pytest.ini_options]
addopts = "--cov=x -n auto"
"""


def test_the_declared_tables_and_groups_of_a_pyproject(tmp_path: Path) -> None:
    found = wanted(tmp_path, {"pyproject.toml": PYPROJECT})
    assert found.runtime == ("attrs>=20",)
    assert "hatchling>=1" in found.build
    assert set(found.tests) == {"pytest", "hypothesis", "coverage", "ruff", "pytest-cov", "pytest-xdist"}
    assert found.skipped == ("local @ file:///etc",)


def test_older_kinds_of_declaration(tmp_path: Path) -> None:
    cfg = "[metadata]\nname = x\n[options]\ninstall_requires =\n    six\n[options.extras_require]\ntest =\n    mock\n"
    assert wanted(tmp_path / "cfg", {"setup.cfg": cfg}).runtime == ("six",)
    setup = "REQ = ['six>=1']\nsetup(name='x', install_requires=REQ, tests_require=['mock'])\n"
    found = wanted(tmp_path / "py", {"setup.py": setup})
    assert (found.runtime, found.tests) == (("six>=1",), ("pytest", "mock"))
    poetry = "[tool.poetry.dependencies]\npython = '^3.9'\nsix = '^1.2'\n[tool.poetry.group.dev.dependencies]\nmock = '*'\n"
    found = wanted(tmp_path / "poetry", {"pyproject.toml": poetry})
    assert (found.runtime, found.tests) == (("six>=1.2",), ("pytest", "mock"))
    info = "Name: x\nRequires-Dist: six\nRequires-Dist: mock; extra == 'test'\nRequires-Dist: sphinx; extra == 'docs'\n"
    found = wanted(tmp_path / "sdist", {"PKG-INFO": info, "setup.py": "setup()"})
    assert (found.runtime, found.tests) == (("six",), ("pytest", "mock"))


def test_requirement_files_and_tox_come_last_and_options_in_them_are_not_followed(tmp_path: Path) -> None:
    lines = "-r more-requirements.txt\n-r ../../etc/passwd\n--index-url http://evil\n-e .\ngit+https://x/y\nmock==5 --hash=sha256:00 # why\n"
    files = {
        "test-requirements.txt": lines,
        "more-requirements.txt": "six\n",
        "tox.ini": "[testenv]\ndeps =\n    py38: flask\n    -rrequirements.txt\n    {[base]deps}\n    nose2\n",
    }
    found = wanted(tmp_path, files)
    assert found.extra == ("six", "mock==5", "flask", "nose2")
    assert set(found.skipped) == {"--index-url http://evil", "-e .", "git+https://x/y"}


def test_what_tests_import_without_declaring_it_is_known_for_common_modules_only(tmp_path: Path) -> None:
    found = wanted(
        tmp_path, {"tests/test_a.py": "import yaml\nfrom hypothesis import given\nimport typosquatted\n"}
    )
    assert set(found.tests) == {"pytest", "pyyaml", "hypothesis"}


def test_a_folder_that_is_no_package_and_uses_unittest_needs_nothing(tmp_path: Path) -> None:
    found = wanted(tmp_path, {"tests/test_a.py": "import unittest\n"}, "unittest")
    assert (found.runtime, found.build, found.tests, found.extra) == ((), (), (), ())


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.py": ""}, None),
        ({"tests/test_a.py": "import unittest\n"}, Command("pytest")),
        (
            {"tests/test_a.py": "import unittest\n", "Makefile": "test:\n\tpython -m unittest\n"},
            Command("unittest", "tests"),
        ),
        (
            {"tests/test_a.py": "import unittest\n", "Makefile": "python -m unittest", "conftest.py": ""},
            Command("pytest"),
        ),
        ({"tests/__init__.py": "", "tests/all.py": "import unittest\n"}, Command("unittest", "tests")),
        ({"test_a.py": "def test_a(): ...\n"}, Command("pytest")),
        ({"pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--doctest-modules'\n"}, Command("pytest")),
    ],
)
def test_the_test_command_is_found(tmp_path: Path, files: dict[str, str], expected: Command | None) -> None:
    write(tmp_path, files)
    assert find_command(inspect(tmp_path), list(files)) == expected
