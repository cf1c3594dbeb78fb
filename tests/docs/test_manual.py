"""The manual is whole: its reference says what the code says, its links and its tests are there."""

import ast
import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from blocks import PROJECT, blocks
from markdown_it import MarkdownIt
from typer.core import TyperGroup

from parley_cli.main import app

DOCS = PROJECT / "docs"


@cache
def generator() -> ModuleType:
    """docs/generate.py, which is no part of any package."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages() -> list[Path]:
    """Every Markdown file that is part of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    found = [PROJECT / name for name in listed] or [PROJECT / "README.md", *DOCS.rglob("*.md")]
    return [page for page in found if page.exists()]


PAGES = pages()


@pytest.mark.parametrize("page", ["cli.md", "api.md"])
def test_the_reference_says_what_the_code_says(page: str) -> None:
    as_it_would_be = generator().written(page)
    assert (DOCS / page).read_text() == as_it_would_be, (
        f"run .venv/bin/python docs/generate.py to renew {page}"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    missing = []
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            missing.append(target)
    assert not missing, f"{page.relative_to(PROJECT)} links to {missing}"


def links(page: Path) -> Iterator[str]:
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text()):
        for inner in token.children or ():
            if inner.type == "link_open":
                yield str(inner.attrs["href"])
            elif inner.type == "image":
                yield str(inner.attrs["src"])


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that a page's headings get where Markdown is shown."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    headings = [tokens[number + 1] for number, token in enumerate(tokens) if token.type == "heading_open"]
    texts = ("".join(part.content for part in one.children or ()) for one in headings)
    return frozenset(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts)


def test_every_guarantee_names_tests_that_exist() -> None:
    existing = {
        "fault": defined_in("tests/fault/test_guarantees.py"),
        "cluster": defined_in("tests/fault/test_cluster.py"),
        "campaign": defined_in("tests/fault/test_campaign.py"),
        "machine": defined_in("tests/fault/test_store_machine.py"),
        "blobs": defined_in("tests/blobs/test_*.py"),
        "store": defined_in("runtime/tests/test_store_contract.py"),
        "scheduling": defined_in("runtime/tests/test_scheduling_contract.py"),
        "retention": defined_in("runtime/tests/test_retention_contract.py"),
        "outage": defined_in("runtime/tests/postgres/test_pg_outage.py"),
        "crowd": defined_in("runtime/tests/postgres/test_pg_crowd.py"),
        "migrations": defined_in("runtime/tests/postgres/test_pg_migrations.py"),
        "push": defined_in("runtime/tests/push/test_*.py"),
        "rocketmq": defined_in("runtime/tests/rocketmq/test_*.py"),
        "residents": defined_in("runtime/tests/test_residents.py"),
        "stopping": defined_in("tests/fault/test_stopping.py"),
        "rollout": defined_in("runtime/tests/test_rollout_contract.py"),
        "canary": defined_in("tests/rollouts/test_*.py"),
        "record": defined_in("registry/tests/test_record_contract*.py"),
        "registry": defined_in("registry/tests/test_registry_*.py"),
        "mirror": defined_in("registry/tests/test_nacos_mirror.py"),
        "empty": defined_in("registry/tests/test_nacos_empty.py"),
        "nacos": defined_in("registry/tests/nacos/test_*.py"),
        "host": defined_in("tests/nacos/test_*.py"),
        "prompts": defined_in("tests/prompts/test_*.py"),
        "reader": defined_in("registry/tests/test_prompt_reader.py"),
        "pages": defined_in("tests/pages/test_*.py"),
        "sidecar": defined_in("tests/sidecar/test_*.py"),
        "plan": defined_in("operator/tests/test_*.py"),
        "operator": defined_in("tests/kubernetes/test_operator*.py"),
        "real": defined_in("tests/kubernetes/test_real_*.py")
        | defined_in("tests/kubernetes/test_installing.py"),
    }
    rows = [
        line
        for line in (DOCS / "guarantees.md").read_text().splitlines()
        if re.match(r"\|(?! Guarantee| Engine| SQLite| PostgreSQL| LISTEN| blob| registry|-)", line)
    ]
    assert rows
    for row in rows:
        proof = row.rstrip("| ").rpartition(" | ")[2]
        named = re.findall(r"`([^`]+)`", proof)
        assert named, f"no test is named for: {row[:80]}"
        where: set[str] = set()
        for kind, name in re.findall(r"(?:([a-z]+): )?`([^`]+)`", proof):
            if name.endswith(".py"):
                assert (PROJECT / name).exists(), name
                continue
            where = existing[kind] if kind else where
            assert name in where, f"there is no test {name}, which is to prove: {row[:80]}"


PROMISING = ("registry", "nacos", "search", "trust", "prompts", "mcp")
"""Pages that promise something in tables of their own, whose last column is called Test."""


@pytest.mark.parametrize("page", PROMISING)
def test_every_promise_of_a_page_names_tests_that_exist(page: str) -> None:
    existing = all_tests()
    promises = list(rows_with_tests(DOCS / f"{page}.md"))
    assert promises, f"{page}.md has no table whose last column is Test"
    for promise, proof in promises:
        named = re.findall(r"`([^`]+)`", proof)
        assert named, f"{page}.md: no test is named for: {promise}"
        unknown = set(named) - existing
        assert not unknown, f"{page}.md: there is no test {unknown}, which is to prove: {promise}"


def rows_with_tests(page: Path) -> Iterator[tuple[str, str]]:
    """The first and the last cell of each row of the tables that end in a column Test."""
    inside = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else []
        if not cells or cells[-1] == "Test":
            inside = bool(cells)
        elif inside and set(line) - set("|- "):
            yield cells[0], cells[-1]


@cache
def all_tests() -> frozenset[str]:
    """The names of all tests there are."""
    found = defined_in("tests/**/test_*.py") | defined_in("*/tests/**/test_*.py")
    return frozenset(name for name in found if name.startswith("test_"))


def defined_in(files: str) -> set[str]:
    """The functions of the files that a pattern means, from the project's root."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    trees = [ast.parse(file.read_text()) for file in PROJECT.glob(files)]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_command_shown_is_one_that_parley_takes(page: Path) -> None:
    for block in blocks(page):
        if block.language == "sh":
            for words in parley_calls(block.text):
                try:
                    understood(words)
                except Exception as error:
                    pytest.fail(f"{page.name}, line {block.line}: parley {shlex.join(words)}: {error}")


def parley_calls(text: str) -> Iterator[list[str]]:
    """The arguments of each call of parley in a piece of shell."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = "#"
        try:
            words = list(lexer)
        except ValueError:
            continue  # a quotation over several lines, which no call of parley needs
        for number, word in enumerate(words):
            mine = words[0] not in ("helm", "kubectl")  # for which it is a name
            if (
                mine
                and word.rpartition("/")[2] == "parley"
                and (number == 0 or not words[number - 1].startswith("-"))
            ):
                rest = words[number + 1 :]
                ends = [i for i, w in enumerate(rest) if re.fullmatch(r"[();<>|&]+", w)]
                call = rest[: ends[0]] if ends else rest
                yield call[:-1] if ends and re.fullmatch("[12]", (call[-1:] and call[-1]) or "") else call


def understood(words: list[str]) -> None:
    """Parse a command line as parley would, and run nothing. Raises what parley would complain of."""
    command: Any = typer.main.get_command(app)
    name = "parley"
    while True:
        context = command.make_context(name, list(words), resilient_parsing=isinstance(command, TyperGroup))
        if not isinstance(command, TyperGroup):
            return
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, words = command.resolve_command(context, rest)
        assert command is not None, f"there is no command {name!r}"


@pytest.mark.parametrize("target", ["run", "test", "bench", "setup"])
def test_the_make_targets_of_the_manual_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)


def test_the_picture_of_a_run_fits_a_readme_and_tells_nothing_of_where_it_was_made() -> None:
    picture = (DOCS / "run.svg").read_text()
    assert len(picture) < 150_000
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", picture))
    assert addresses <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}, addresses
    assert not re.search(r"@font-face|/(home|root|tmp|work|Users)/", picture)
