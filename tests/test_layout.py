"""The tree's own rules, where no tool checks them."""

import ast
import subprocess
from collections import defaultdict
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def test_a_module_that_tests_import_by_its_bare_name_has_that_name_alone() -> None:
    # Test processes run files of several folders: the first module of a name would be everybody's.
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    tests = [Path(name) for name in listed if "tests" in Path(name).parts and (PROJECT / name).exists()]
    shared = defaultdict(set)
    for path in tests:
        if not (path.parent / "__init__.py").exists():
            shared[path.stem].add(path)
    imported = {
        name for path in tests if path.name.startswith(("test_", "conftest")) for name in _imported(path)
    }

    clashing = {name: sorted(map(str, shared[name])) for name in imported if len(shared[name]) > 1}

    assert clashing == {}


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse((PROJECT / path).read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names
