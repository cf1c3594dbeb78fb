"""`parley host` with the examples: what the tutorial tells a newcomer to do works."""

import json
import subprocess
from pathlib import Path

import pytest
from cli_processes import EXAMPLES, PARLEY, hosted, parley, start

from engines.ports import free_port

pytestmark = pytest.mark.processes


def test_hello_is_hosted_unchanged_and_answers(tmp_path: Path) -> None:
    with hosted("hello:Hello", EXAMPLES / "hello", tmp_path) as url:
        done = parley(tmp_path, "send", url, "Ada")
        assert (done.returncode, done.stdout) == (0, "Hello, Ada!\n")


def test_an_answer_finds_its_task_after_the_host_was_started_again(tmp_path: Path) -> None:
    folder = EXAMPLES / "approval"
    with hosted("approval:Approval", folder, tmp_path) as url:
        asked = parley(tmp_path, "send", url, "the weather")
        assert asked.returncode == 1
        assert "this is about the weather" in asked.stdout
        assert "Shall I send it?" in asked.stderr
    with hosted("approval:Approval", folder, tmp_path) as other:
        assert parley(tmp_path, "task", "answer", "last", "yes", "--agent", other).returncode == 0
        done = parley(tmp_path, "task", "watch", "last", "--agent", other)
        assert done.returncode == 0
        assert "Sent; receipt A-0001." in done.stderr
        trace = parley(tmp_path, "task", "show", "last", "--trace", "--agent", other)
        assert trace.stdout.count("draft") == 1
        assert "send" in trace.stdout


def test_a_trace_tells_of_the_attempt_that_was_lost(tmp_path: Path) -> None:
    programs = Path(__file__).parent / "programs"
    given = ("patient:Patient", programs, tmp_path, "--card", "scripted_card.json", "--lease", "0.5")
    first, url = start(*given)
    try:
        assert parley(tmp_path, "send", url, "begin", "--detach").returncode == 0
    finally:
        first.kill()
        first.wait(20)
    with hosted(*given) as other:
        assert parley(tmp_path, "task", "watch", "last", "--agent", other).returncode == 0
        trace = parley(tmp_path, "task", "show", "last", "--trace", "--agent", other).stdout
        assert "lost, taken over" in trace
        told = parley(tmp_path, "task", "show", "last", "--trace", "--agent", other, "--json").stdout
        (lost,) = json.loads(told)["takeovers"]
        assert lost["worker"]
        assert lost["at"] > json.loads(told)["accepted"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere:Thing",), "cannot import nowhere"),
        (("hello:Nobody",), "has no 'Nobody'"),
        (("hello:Hello", "--listen", "99999"), "is not a listen address"),
        (("hello:Hello", "--listen", "0.0.0.0:0"), "listen on 127.0.0.1"),
        (("hello:Hello", "--role", "king"), "--role: Input should be 'front' or 'worker'"),
        (("hello:Hello", "--queue", "kafka://x"), "use rocketmq://proxy-host:8081"),
        (("hello:Hello", "--classes", "bob"), "--classes: 'bob' are no classes"),
        (("hello:Hello", "--retain-tasks", "-1"), "--retain-tasks"),
        (("hello:Hello", "--version", "newest"), "--version: 'newest' is not a semantic version; write it"),
        (("hello:Hello", "--registry", "localhost:8420"), "--registry: 'localhost:8420' is not a registry"),
        (("hello:Hello", "--public-url", "agents.example.com"), "is not a base URL; write it like https://"),
    ],
)
def test_a_host_that_cannot_be_says_why(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    command = [PARLEY, "host", *words, "--card", "card.json"]
    done = subprocess.run(command, cwd=EXAMPLES / "hello", capture_output=True, text=True, timeout=60)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(("form", "first"), [("text", "info"), ("json", "{"), ("auto", "{")])
def test_the_log_says_where_what_serves_is_and_what_it_uses(tmp_path: Path, form: str, first: str) -> None:
    store = f"sqlite:///{tmp_path}/of the registry.db"
    listen = f"127.0.0.1:{free_port()}"
    words = ("registry", "--listen", listen, "--store", store, "--log-format", form)
    with subprocess.Popen([PARLEY, *words], stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr
        line = next(line for line in process.stderr if "serving at" in line)
        process.terminate()
    assert first in line.split("parley_registry")[0]
    assert f"http://{listen}/" in line
    assert store in line
