"""`parley agents`: what is in the registry is changed from the command line as by the API."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_processes import EXAMPLES, called, hosted, parley, registry

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agents")


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Iterator[str]:
    with registry(folder) as url:
        yield url


def versions(folder: Path, catalogue: str) -> list[tuple[str, bool]]:
    done = called(folder, "agents", "versions", "hello", "--json", "--registry", catalogue)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(row["version"], row["latest"]) for row in rows]


def test_versions_are_rolled_back_and_deleted(folder: Path, catalogue: str) -> None:
    there = ("--registry", catalogue)
    for version in ("1.0.0", "1.1.0"):
        with hosted("hello:Hello", EXAMPLES / "hello", folder, "--version", version, *there):
            pass  # it has published itself when it is ready
    assert versions(folder, catalogue) == [("1.1.0", True), ("1.0.0", False)]

    back = called(folder, "agents", "set-latest", "hello@1.0.0", "--json", *there)
    assert json.loads(back.stdout)["latest"] is True
    assert versions(folder, catalogue) == [("1.1.0", False), ("1.0.0", True)]

    unclear = called(folder, "agents", "delete", "hello", *there)
    assert unclear.returncode == 2
    assert "hello has 2 versions (1.1.0, 1.0.0)" in unclear.stderr
    done = called(folder, "agents", "delete", "hello@1.1.0", *there)
    assert (done.returncode, done.stdout) == (0, "deleted: hello 1.1.0\n")
    done = called(folder, "agents", "delete", "hello", *there)
    assert (done.returncode, done.stdout) == (0, "deleted: hello 1.0.0\n")
    assert called(folder, "agents", "show", "hello", *there).returncode == 2


def test_an_agent_that_does_not_publish_itself_is_registered_by_its_url(folder: Path, catalogue: str) -> None:
    with hosted("approval:Approval", EXAMPLES / "approval", folder) as url:
        done = called(folder, "agents", "register", url, "--registry", catalogue)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("registered: approval 1.0.0")
        assert parley(folder, "send", "approval", "hm", "--registry", catalogue).returncode == 1  # it asks


def test_an_empty_registry_is_said_to_be_empty_and_how_to_fill_it(folder: Path, catalogue: str) -> None:
    there = ("--registry", catalogue, "--namespace", "empty")
    for words in (("list",), ("search", "greeting")):
        done = called(folder, "agents", *words, *there)
        assert (done.returncode, done.stdout) == (0, "")
        assert "the namespace empty of the registry has no agents: `parley host" in done.stderr
    assert "no prompts yet" in called(folder, "prompts", "list", *there).stderr
    assert "no MCP servers yet" in called(folder, "mcp", "list", *there).stderr


def test_a_namespace_is_chosen_by_an_option_the_environment_or_the_address(
    folder: Path, catalogue: str
) -> None:
    team = f"{catalogue}?namespace=team-a"
    with hosted("hello:Hello", EXAMPLES / "hello", folder, "--registry", team):
        there = ("--registry", catalogue)
        for words in (("--namespace", "team-a", *there), ("-n", "team-a", *there), ("--registry", team)):
            shown = called(folder, "agents", "show", "hello", *words)
            assert shown.stdout.startswith("team-a/hello 1.0.0  up  latest"), shown.stderr
        assert called(folder, "agents", "show", "hello", *there, PARLEY_NAMESPACE="team-a").returncode == 0
        assert called(folder, "agents", "show", "hello", "-n", "team-b", "--registry", team).returncode == 2
        answer = parley(folder, "send", "hello", "Ada", "-n", "team-a", *there)
        assert answer.stdout == "Hello, Ada!\n"
        everywhere = called(folder, "agents", "list", "--all-namespaces", "--json", *there)
        assert "team-a" in [json.loads(line)["namespace"] for line in everywhere.stdout.splitlines()]
        both = called(folder, "agents", "list", "-A", "-n", "team-a", *there)
        assert (both.returncode, "leave one out" in both.stderr) == (2, True)


def test_the_list_marks_the_latest_and_the_history_fits_a_terminal(folder: Path, catalogue: str) -> None:
    there = ("--registry", catalogue, "--namespace", "told")
    with hosted("hello:Hello", EXAMPLES / "hello", folder, *there):
        pass
    _, row = called(folder, "agents", "list", *there).stdout.splitlines()
    assert row.split()[:4] == ["told/hello", "1.0.0", "latest", "down"]
    called(folder, "agents", "transfer", "hello", "https://login.example.com/realms/engineering|ann", *there)
    history = called(folder, "agents", "history", "hello", *there).stdout.splitlines()
    assert [line.split()[2] for line in history[::2]] == ["owner", "publish"]
    assert "→ https://login.example.com" in history[0] or "https://login.example.com" in history[0]
    assert max(map(len, history)) <= 120


def test_an_agent_that_runs_is_deleted_only_by_force(folder: Path, catalogue: str) -> None:
    there = ("--registry", catalogue, "--namespace", "busy")
    with hosted("hello:Hello", EXAMPLES / "hello", folder, *there) as url:
        for words in (("hello",), ("hello", "--all-versions")):
            refused = called(folder, "agents", "delete", *words, *there)
            assert refused.returncode == 1
            assert f"hello runs (1.0.0 at {url}" in refused.stderr
        done = called(folder, "agents", "delete", "hello", "--force", *there)
        assert (done.returncode, done.stdout) == (0, "deleted: hello 1.0.0\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("register", "hello"), 2, "is not the URL of an agent"),
        (("register", "http://127.0.0.1:9"), 1, "127.0.0.1:9"),
        (("set-latest", "hello"), 2, "say which version, as hello@VERSION"),
        (("set-latest", "nobody@1.0.0"), 2, "nobody"),
        (("delete", "nobody"), 2, "nobody"),
        (("list", "--registry", "localhost:8420"), 2, "is not a registry; write it like http://"),
        (("list", "--registry", "http://127.0.0.1:9"), 1, "does not answer"),
    ],
)
def test_what_cannot_be_is_said_with_the_right_exit_code(
    folder: Path, catalogue: str, words: tuple[str, ...], code: int, said: str
) -> None:
    where = () if "--registry" in words else ("--registry", catalogue)
    done = called(folder, "agents", *words, *where)
    assert said in done.stderr
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
