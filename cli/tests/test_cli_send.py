"""`parley send` to an agent that does not take the message at once: it says why it waits, and goes on."""

import subprocess
import time
from pathlib import Path

import httpx
import pytest
from a2a.types import a2a_pb2 as pb
from cli_processes import PARLEY, environment, hosted, parley

from parley_agents.orchestrator.errors import CallFailed
from parley_cli import remote

PROGRAMS = Path(__file__).parent / "programs"


def test_a_full_backlog_is_said_while_the_command_waits_for_room(tmp_path: Path) -> None:
    given = ("patient:Patient", PROGRAMS, tmp_path, "--card", "scripted_card.json", "--concurrency", "1")
    store = ("--store", f"sqlite:///{tmp_path}/patient.db")
    with hosted(*given, "--drain", "0") as url:
        assert parley(tmp_path, "limits", "scripted", *store, "--backlog", "1").returncode == 0
        for _ in range(2):
            assert parley(tmp_path, "send", url, "begin", "--detach").returncode == 0
        command = [PARLEY, "send", url, "begin", "--detach"]
        with (tmp_path / "said").open("wb") as said:
            process = subprocess.Popen(command, env=environment(tmp_path), stdout=said, stderr=said)
        deadline = time.monotonic() + 30
        waits = "the agent's backlog is full (1 messages wait); trying again in 1 s (2 of 10)…"
        while waits not in (told := (tmp_path / "said").read_text()):
            assert time.monotonic() < deadline, told
            time.sleep(0.05)
        assert parley(tmp_path, "limits", "scripted", *store, "--backlog", "0").returncode == 0
        assert process.wait(30) == 0


def test_an_agent_that_is_not_there_is_said_at_the_end_in_plain_words(tmp_path: Path) -> None:
    done = parley(tmp_path, "send", "http://127.0.0.1:1", "hello")
    assert done.returncode != 0
    assert "failed inside" not in done.stderr
    assert "http://127.0.0.1:1" in done.stderr


async def test_each_try_is_said_and_the_last_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SENDS", 3)
    card = pb.AgentCard(name="gone", capabilities=pb.AgentCapabilities(streaming=True))
    card.supported_interfaces.add(
        url="http://127.0.0.1:1/", protocol_binding="JSONRPC", protocol_version="1.0"
    )
    said: list[str] = []
    async with httpx.AsyncClient() as http:
        agent = remote.Remote(card, http)
        with pytest.raises(CallFailed, match="gone cannot be reached"):
            async for _ in agent.converse(pb.Message(message_id="m"), seconds=5, say=said.append):
                pass
    assert [line.rpartition("(")[2] for line in said] == ["2 of 3)…", "3 of 3)…"]
    assert all(line.startswith("gone cannot be reached: ") for line in said)
