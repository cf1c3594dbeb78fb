"""`parley host`, `parley registry` and other calls of the command, as processes of their own."""

import io
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import pytest

from engines.ports import free_port
from parley_cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
PARLEY = str(Path(sys.executable).with_name("parley"))


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of this process with no setting of Parley's but the home and what is given."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    return plain | {"PARLEY_HOME": str(home)} | more


def start(executor: str, folder: Path, home: Path, *more: str) -> "tuple[subprocess.Popen[bytes], str]":
    """A host of an executor, started in its folder, when it is ready; and its address."""
    card = () if "--card" in more else ("--card", "card.json")
    store = f"sqlite:///{home}/{executor.partition(':')[0]}.db"
    return _started(["host", executor, *card, "--store", store, *more], folder, home)


@contextmanager
def hosted(executor: str, folder: Path, home: Path, *more: str) -> Iterator[str]:
    """`start` for a block; its address."""
    with _ended(start(executor, folder, home, *more)) as address:
        yield address


@contextmanager
def registry(home: Path, **settings: str) -> Iterator[str]:
    """A registry for a block; its address."""
    command = ["registry", "--store", f"sqlite:///{home}/registry.db"]
    with _ended(_started(command, home, home, **settings)) as address:
        yield address


def parley(home: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """A call of the command to its end."""
    return subprocess.run(
        [PARLEY, *words], env=environment(home, **settings), capture_output=True, text=True, timeout=60
    )


def called(home: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """The same within this process, which has loaded already what takes a command most of its time: for tests of what
    registries and files are asked."""
    said, complained = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment(home, **settings), clear=True),
        patch.object(sys, "argv", [PARLEY, *words]),
        redirect_stdout(said),
        redirect_stderr(complained),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return subprocess.CompletedProcess(
        [PARLEY, *words], int(ended.value.code or 0), said.getvalue(), complained.getvalue()
    )


def _started(
    words: Sequence[str], folder: Path, home: Path, **settings: str
) -> "tuple[subprocess.Popen[bytes], str]":
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [PARLEY, *words, "--listen", address], cwd=folder, env=environment(home, **settings)
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/readyz", timeout=5).close()
            return process, f"http://{address}"
        except OSError:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline
            time.sleep(0.1)


@contextmanager
def _ended(started: "tuple[subprocess.Popen[bytes], str]") -> Iterator[str]:
    process, address = started
    try:
        yield address
    finally:
        process.terminate()
        assert process.wait(20) == 0
