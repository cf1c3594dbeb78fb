"""A rollout that is paused: no step is taken and no time of one passes, but a canary that does worse loses its weight."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from world import Load, World, until, world

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, f"sqlite:///{tmp_path}/greeter.db") as made:
        made.host("1.0.0", "Greeter")
        made.did("set", "greeter", "1.0.0=100")
        yield made


class Said:
    """What a command says, line by line as it says it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(iter(self._process.stdout.readline, ""))

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def within(self, seconds: float, true: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not true(self.text):
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)

    def ended(self, seconds: float) -> int:
        self._process.wait(seconds)
        self._reader.join(10)
        return self._process.returncode


def test_steps_wait_while_a_rollout_is_paused_and_their_time_does_not_pass(place: World) -> None:
    place.host("1.1.0", "Better")
    words = ("--steps", "25:30s,100", "--analysis", "none", "--drain", "0")
    run = Said(place.rollout("run", "greeter", "1.1.0", *words))
    run.within(60, lambda text: "1.1.0 gets 25 %" in text)
    assert place.did("pause", "greeter") == "1.0.0 Current 75 %, 1.1.0 Ramping 25 % (paused)\n"
    run.within(60, lambda text: "paused, until `parley rollout resume greeter`" in text)
    assert json.loads(place.did("status", "greeter", "--json"))["paused"]
    assert "paused: the weights stay" in place.did("status", "greeter")
    time.sleep(32)
    assert "is current" not in run.text, "the time of a step passed while it was paused"
    assert place.did("resume", "greeter") == "1.0.0 Current 75 %, 1.1.0 Ramping 25 %\n"
    assert run.ended(180) == 0, run.text
    assert "1.1.0 is current, with all new contexts" in run.text
    assert "(paused)" in place.did("history", "greeter")


def test_a_rollout_that_is_paused_already_begins_when_it_is_resumed(place: World) -> None:
    place.host("1.1.0", "Better")
    place.did("pause", "greeter")
    run = Said(place.rollout("run", "greeter", "1.1.0", "--steps", "100", "--analysis", "none"))
    run.within(60, lambda text: "paused, until" in text)
    assert place.did("status", "greeter", "--json").count("Ramping") == 0
    place.did("resume", "greeter")
    assert run.ended(180) == 0, run.text
    assert run.text.splitlines()[-1] == "1.1.0 Current 100 %, 1.0.0 Drained"


def test_who_promotes_a_paused_canary_has_ended_the_pause(place: World) -> None:
    place.host("1.1.0", "Better")
    run = Said(place.rollout("run", "greeter", "1.1.0", "--steps", "25:120s,100", "--analysis", "none"))
    run.within(60, lambda text: "1.1.0 gets 25 %" in text)
    place.did("pause", "greeter")
    assert place.did("promote", "greeter") == "1.1.0 Current 100 %, 1.0.0 Draining\n"
    assert run.ended(180) == 1
    assert "somebody else changed the rollout" in run.text


async def test_a_canary_that_does_worse_loses_its_weight_although_it_is_paused(place: World) -> None:
    place.host("1.2.0", "Broken")
    place.did("set", "greeter", "1.0.0=50", "1.2.0=50")
    place.did("pause", "greeter")
    words = ("--steps", "50:60s,100", "--analysis", "failure-rate")
    run = Said(place.rollout("run", "greeter", "1.2.0", *words))
    async with Load(place.hosts) as load:
        await until("the end of the rollout", lambda: "does worse" in run.text, 90)
        assert load.failed
    assert await asyncio.to_thread(run.ended, 180) == 1
    assert run.text.splitlines()[-1] == "1.0.0 Current 100 %, 1.2.0 Draining"
