"""What a command loads before it does its work is what it needs."""

import subprocess
import sys

import pytest


def loaded(command: list[str], among: set[str]) -> set[str]:
    """Which of these modules a command has loaded when it ends."""
    program = (
        f"import atexit, sys; sys.argv = {['parley', *command]!r}\n"
        f"atexit.register(lambda: print('loaded', *({among!r} & set(sys.modules))))\n"
        "from parley_cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "loaded", done.stderr
    return set(last[1:])


@pytest.mark.parametrize(
    "command",
    [
        ["agents", "list", "--registry", "http://127.0.0.1:1"],
        ["keys", "list", "--keys", "/nowhere/keys.json"],
    ],
    ids=["agents", "keys"],
)
def test_what_asks_no_agent_loads_nothing_of_a_host(command: list[str]) -> None:
    heavy = {"a2a.client", "a2a.server", "grpc", "parley_runtime", "sqlalchemy"}
    assert loaded(command, heavy | {"typer"}) == {"typer"}
