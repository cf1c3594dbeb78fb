"""`parley prompts`: a prompt's life from the command line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_processes import called, registry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prompts")


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Iterator[str]:
    with registry(folder) as url:
        yield url


@pytest.mark.timeout(300)
def test_a_prompt_is_pushed_labelled_bound_shown_rendered_and_deleted(folder: Path, catalogue: str) -> None:
    there = ("--registry", catalogue)
    text = folder / "review.txt"
    text.write_text("As {{role}}, review\n  this {{language}} code.")
    first = ("--version", "1.2.0", "--label", "production", "--default", "role=a critic")
    done = called(folder, "prompts", "push", str(text), *first, "--author", "ana", *there)
    assert (done.returncode, done.stdout) == (0, "pushed: review 1.2.0, production\n"), done.stderr
    again = called(folder, "prompts", "push", str(text), *first, *there)
    assert again.stdout.startswith("there already: review 1.2.0")

    whole = folder / "canary.json"
    whole.write_text(json.dumps({"name": "review", "version": "1.3.0", "template": "Judge {{language}}."}))
    assert called(folder, "prompts", "push", str(whole), *there).returncode == 0
    bound = called(folder, "prompts", "bind", "review", "coder@2.0.0", "1.3.0", *there)
    assert bound.stdout == "coder@2.0.0 gets 1.3.0 of review\n"

    shown = called(folder, "prompts", "show", "review", *there).stdout
    assert shown.splitlines() == [
        "review latest 1.3.0",
        "  1.3.0 [for coder@2.0.0]",
        "  1.2.0 by ana [production]",
    ]
    listed = called(folder, "prompts", "list", "rev", "--json", *there)
    assert json.loads(listed.stdout)["labels"] == {"production": "1.2.0"}
    one = called(folder, "prompts", "show", "review@1.2.0", *there).stdout
    assert "  role default 'a critic'" in one
    assert "\n  this {{language}} code.\n" in one

    rendered = called(folder, "prompts", "render", "review", "language=Go", *there)
    assert rendered.stdout == "As a critic, review\n  this Go code.\n"
    bare = called(folder, "prompts", "render", "review", *there)
    assert "language" in bare.stderr
    assert "needs a value, given as NAME=TEXT behind the prompt's name" in bare.stderr
    canary = called(folder, "prompts", "render", "review", "language=Go", "--agent", "coder@2.0.0", *there)
    assert canary.stdout == "Judge Go.\n"

    refused = called(folder, "prompts", "delete", "review@1.3.0", *there)
    assert refused.returncode == 1
    assert "in use by coder@2.0.0" in refused.stderr
    assert called(folder, "prompts", "bind", "review", "coder@2.0.0", "--remove", *there).returncode == 0
    assert called(folder, "prompts", "delete", "review@1.3.0", *there).stdout == "deleted: review 1.3.0\n"
    moved = called(folder, "prompts", "label", "review", "staging", "1.2.0", *there)
    assert moved.stdout == "staging of review is 1.2.0\n"
    assert called(folder, "prompts", "delete", "review", "--all-versions", *there).returncode == 0
    assert called(folder, "prompts", "list", *there).stderr.startswith("there are no prompts yet")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "none"), "there is no prompt named 'none'"),
        (("push", "missing.txt", "--version", "1.0.0"), "cannot read missing.txt"),
        (("label", "none", "production"), "give a version or --remove"),
        (("bind", "none", "coder", "1.0.0"), "say which version of the agent is meant"),
        (("delete", "none"), "name one version as none@VERSION"),
        (("render", "none", "language"), "write it like language=Python"),
    ],
)
def test_what_cannot_work_is_misuse(folder: Path, catalogue: str, words: tuple[str, ...], said: str) -> None:
    done = called(folder, "prompts", *words, "--registry", catalogue)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_every_fault_of_a_file_is_named(folder: Path, catalogue: str) -> None:
    wrong = folder / "wrong.txt"
    wrong.write_text("{{#if}} {{x}}")
    done = called(
        folder,
        "prompts",
        "push",
        str(wrong),
        "--version",
        "one",
        "--label",
        "latest",
        "--registry",
        catalogue,
    )
    assert done.returncode == 2
    for part in (
        "template: has '{{#if}}'",
        "version: is not a semantic version",
        "labels[0]: 'latest' cannot be set",
    ):
        assert part in done.stderr
