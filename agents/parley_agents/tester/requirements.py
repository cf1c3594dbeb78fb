"""What a repository's tests need installed, read from its files as data: nothing of it is run to find out."""

import ast
import configparser
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from parley_agents.project import Project

_TEST_NAMES = re.compile(
    r"^(.*[-_])?(tests?|testing|dev|develop|development|ci|check|all[-_]?extras|unit)([-_].*)?$", re.I
)
_FILES = re.compile(r"^(.*[-_.])?(test|tests|testing|dev|development|ci)([-_.].*)?$", re.I)
_KNOWN = {
    "attr": "attrs", "dateutil": "python-dateutil", "freezegun": "freezegun", "hypothesis": "hypothesis",
    "mock": "mock", "numpy": "numpy", "parameterized": "parameterized", "pretend": "pretend", "psutil": "psutil",
    "pytest_asyncio": "pytest-asyncio", "pytest_mock": "pytest-mock", "pytz": "pytz", "yaml": "pyyaml",
    "requests": "requests", "responses": "responses", "six": "six", "sortedcontainers": "sortedcontainers",
    "time_machine": "time-machine", "typing_extensions": "typing-extensions", "wcwidth": "wcwidth",
    "pytest_subtests": "pytest-subtests", "tzdata": "tzdata", "trio": "trio", "anyio": "anyio",
}  # fmt: skip
"""Modules that tests import, and where they come from, for projects that do not say so."""
_PLUGINS = (
    (r"--cov\b", "pytest-cov"),
    (r"(?<!\S)-n\s*(\d+|auto|logical)\b|--dist\b|--numprocesses\b", "pytest-xdist"),
    (r"\basyncio_mode\b|pytest\.mark\.asyncio", "pytest-asyncio"),
    (r"--timeout\b|^\s*timeout\s*=", "pytest-timeout"),
    (r"--benchmark", "pytest-benchmark"),
    (r"\bmocker\b", "pytest-mock"),
    (r"--randomly|-p no:randomly", "pytest-randomly"),
    (r"\bsubtests\b", "pytest-subtests"),
)


@dataclass(frozen=True, slots=True)
class Needs:
    """Requirements in tiers: the later ones are left out first when not all can be installed together.

    `build` makes the project itself installable (editables is what hatchling asks for only when it builds); `skipped` are requirements that are not taken from a
    repository: URLs, paths, options.
    """

    runtime: tuple[str, ...]
    build: tuple[str, ...]
    tests: tuple[str, ...]
    extra: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def needs(project: Project, tests: Iterable[str], runner: str) -> Needs:
    """What is to be installed for the test files given (paths in the repository) and what runs them."""
    root, skipped = project.root, list[str]()
    table = _table(project.pyproject, "project")
    runtime = [*_strings(table.get("dependencies")), *_setup_cfg(project, "options", "install_requires")]
    runtime += _setup_py(root, "install_requires") + _poetry(project, "dependencies")
    if not runtime:
        runtime = [r for r in _pkg_info(root) if "extra ==" not in r] or _requirements(
            root / "requirements.txt"
        )
    wanted: list[str] = []
    for name, listed in _table(table, "optional-dependencies").items():
        if _TEST_NAMES.match(name):
            wanted += _strings(listed)
    for name, value in project.setup_cfg.get("options.extras_require", {}).items():
        if _TEST_NAMES.match(name):
            wanted += value.splitlines()
    groups = _table(project.pyproject, "dependency-groups")
    for name in groups:
        if _TEST_NAMES.match(name):
            wanted += _group(groups, name, set())
    poetry = _table(_table(_table(project.pyproject, "tool"), "poetry"), "group")
    for name, group in poetry.items():
        if _TEST_NAMES.match(name) and isinstance(group, dict):
            wanted += _poetry_table(_table(group, "dependencies"))
    wanted += _poetry(project, "dev-dependencies") + _setup_py(root, "tests_require")
    wanted += [
        r
        for r in _pkg_info(root)
        if (m := re.search(r"extra == ['\"]([\w.-]+)", r)) and _TEST_NAMES.match(m[1])
    ]
    extra = [line for path in _requirement_files(root) for line in _requirements(path)]
    extra += _tox(root)
    own = str(table.get("name") or project.setup_cfg.get("metadata", {}).get("name") or "")
    buildable = is_buildable(root)
    build = _strings(_table(project.pyproject, "build-system").get("requires")) or ["setuptools", "wheel"]
    clean = [list(_named(tier, own, skipped)) for tier in (runtime, build, wanted, extra)]
    return Needs(
        tuple(clean[0]),
        (*clean[1], "setuptools", "editables") if buildable else (),
        (*([runner] if runner != "unittest" else []), *clean[2], *_implied(root, project, tests)),
        tuple(clean[3]),
        tuple(dict.fromkeys(skipped)),
    )


def is_buildable(root: Path) -> bool:
    """Whether the repository is a package that can be installed."""
    text = _read(root / "pyproject.toml")
    declared = "[project]" in text or "[build-system]" in text or "[tool.poetry]" in text
    return declared or (root / "setup.py").is_file() or "[metadata]" in _read(root / "setup.cfg")


def _named(lines: Iterable[str], own: str, skipped: list[str]) -> Iterator[str]:
    """The lines that are plain requirements by name; a repository does not get to say where they come from."""
    for line in lines:
        line = line.split(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        try:
            parsed = Requirement(line)
        except InvalidRequirement:
            skipped.append(line[:100])
            continue
        if parsed.url:
            skipped.append(line[:100])
        elif not own or canonicalize_name(parsed.name) != canonicalize_name(own):
            if parsed.marker and "extra" in str(parsed.marker):
                parsed.marker = None
            yield str(parsed)


def _implied(root: Path, project: Project, tests: Iterable[str]) -> list[str]:
    """What the test files import or use without anybody having declared it, where we know where it comes from."""
    found: dict[str, None] = {}
    settings = " ".join(
        str(v) for v in _table(_table(_table(project.pyproject, "tool"), "pytest"), "ini_options").items()
    )
    settings += "".join(_read(root / name) for name in ("setup.cfg", "pytest.ini", "tox.ini"))
    texts = [_read(root / path) for path in list(tests)[:2000] if path.endswith(".py")]
    for pattern, package in _PLUGINS:
        scope = [settings] if pattern.startswith(("--", "(?<!", r"\basyncio", "--timeout")) else texts
        if any(re.search(pattern, text, re.M) for text in scope):
            found[package] = None
    if any("pytest.mark.asyncio" in text for text in texts):
        found["pytest-asyncio"] = None
    for text in texts:
        for module in re.findall(r"^\s*(?:import|from)\s+(\w+)", text, re.M):
            if module in _KNOWN:
                found[_KNOWN[module]] = None
    return list(found)


def _requirement_files(root: Path) -> list[Path]:
    places = [*root.glob("*.txt"), *root.glob("requirements/*.txt"), *root.glob("tests/*.txt")]
    return sorted(
        path for path in places if _FILES.match(path.stem) and ("require" in str(path.relative_to(root)))
    )[:20]


def _requirements(path: Path, depth: int = 0) -> list[str]:
    lines = []
    for line in _read(path).replace("\\\n", " ").splitlines():
        line = re.sub(r"\s--hash=\S+", "", line).strip()
        if match := re.match(r"(?:-r|--requirement)[\s=]+(\S+)", line):
            below = path.parent / match[1]
            if depth < 3 and ".." not in Path(match[1]).parts and not Path(match[1]).is_absolute():
                lines += _requirements(below, depth + 1)
        elif line and not line.startswith(("#", "-c", "--constraint")):
            lines.append(line)
    return lines


def _tox(root: Path) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(_read(root / "tox.ini"))
    except configparser.Error:
        return []
    lines = parser.get("testenv", "deps", fallback="").splitlines()
    lines = [re.sub(r"^[\w{},!-]+:\s+", "", line.strip()) for line in lines]
    return [line for line in lines if line and "{" not in line and not line.startswith("-")]


def _group(groups: dict[str, Any], name: str, seen: set[str]) -> list[str]:
    """A dependency group with those it includes (PEP 735)."""
    listed = groups.get(name)
    if name in seen or not isinstance(listed, list):
        return []
    seen.add(name)
    found = []
    for item in listed:
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict) and isinstance(item.get("include-group"), str):
            found += _group(groups, item["include-group"], seen)
    return found


def _poetry(project: Project, key: str) -> list[str]:
    return _poetry_table(_table(_table(_table(project.pyproject, "tool"), "poetry"), key))


def _poetry_table(table: dict[str, Any]) -> list[str]:
    found = []
    for name, value in table.items():
        text = value.get("version", "*") if isinstance(value, dict) else value
        if (
            name == "python"
            or not isinstance(text, str)
            or (isinstance(value, dict) and value.get("optional"))
        ):
            continue
        found.append(name + _caret(text.strip()))
    return found


def _caret(text: str) -> str:
    if text in ("*", ""):
        return ""
    if match := re.fullmatch(r"[\^~]\s*([\d.]+)", text):
        return f">={match[1]}"
    return text if re.match(r"[<>=!~]", text) else f"=={text}"


def _setup_cfg(project: Project, section: str, key: str) -> list[str]:
    return project.setup_cfg.get(section, {}).get(key, "").splitlines()


def _setup_py(root: Path, key: str) -> list[str]:
    """Literal lists of requirements in a setup.py, also through a name given to them in the file."""
    try:
        tree = ast.parse(_read(root / "setup.py"))
    except (SyntaxError, ValueError, RecursionError):
        return []
    names = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == key:
            value = names.get(node.value.id) if isinstance(node.value, ast.Name) else node.value
            if isinstance(value, (ast.List, ast.Tuple)):
                return [
                    e.value for e in value.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)
                ]
    return []


def _pkg_info(root: Path) -> list[str]:
    return [
        str(value) for value in HeaderParser().parsestr(_read(root / "PKG-INFO")).get_all("Requires-Dist", [])
    ]


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _table(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _read(path: Path) -> str:
    if not path.is_file() or path.is_symlink() or path.stat().st_size > 2 * 1024 * 1024:
        return ""
    return path.read_text("utf-8", "replace")
