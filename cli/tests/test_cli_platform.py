"""The embedded platform's life: started once, restarted, ended whole. Real processes, stub members."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cli_processes import parley

from parley_cli import local, platform
from parley_cli.home import Home
from parley_cli.overnacos import OverNacos

pytestmark = pytest.mark.processes

STUB = Path(__file__).parent / "programs" / "stub_platform.py"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setattr(local, "COMMAND", (sys.executable, str(STUB)))
    home = Home.at(tmp_path / "home")
    home.create()
    members(home, registry="ok", one="ok", two="ok")
    yield home
    local.down(home)


def members(home: Home, **modes: str) -> None:
    (home.root / "stub.json").write_text(json.dumps({"members": modes}))


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def pids(found: platform.Platform) -> set[int]:
    return {found.pid, *(one.pid for one in found.processes.values())}


def alive(found: platform.Platform) -> bool:
    return any(one.alive for one in found.processes.values()) or (
        platform.find_process(found.pid, found.created) is not None
    )


def test_up_starts_all_and_down_ends_all(home: Home) -> None:
    found, started = local.up(home)
    assert started
    assert found.ready
    assert {name for name, one in found.processes.items() if one.alive} == {"registry", "one", "two"}
    assert local.down(home)
    assert not alive(found)
    assert not local.down(home)


def test_up_twice_is_one_platform(home: Home) -> None:
    first, _ = local.up(home)
    second, started = local.up(home)
    assert not started
    assert pids(first) == pids(second)


def test_two_ups_at_once_make_one_platform(home: Home) -> None:
    results: list[tuple[platform.Platform, bool]] = []
    threads = [threading.Thread(target=lambda: results.append(local.up(home))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started for _, started in results) == [False, False, False, True]
    assert len({frozenset(pids(found)) for found, _ in results}) == 1


def test_a_member_that_dies_is_started_again_at_its_address(home: Home) -> None:
    found, _ = local.up(home)
    os.kill(found.processes["one"].pid, signal.SIGKILL)

    def again() -> bool:
        now = platform.running(home)
        one = now.processes["one"] if now else None
        return bool(one and one.alive and one.restarts == 1)

    until(again)
    now = platform.load(home)
    assert now
    assert now.processes["one"].url == found.processes["one"].url
    assert now.processes["one"].note == "killed by SIGKILL"
    assert now.processes["two"].pid == found.processes["two"].pid


def test_a_platform_that_cannot_start_says_which_member_and_why(home: Home) -> None:
    members(home, registry="ok", one="broken")
    with pytest.raises(
        local.PlatformError, match=r"one does not start \(exit code 7\): cannot open the frobnicator"
    ):
        local.up(home)
    assert not platform.supervised(home)
    left = platform.load(home)
    assert left
    assert not alive(left)


def test_members_of_a_killed_supervisor_are_cleared_away_by_the_next_up(home: Home) -> None:
    before, _ = local.up(home)
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: not platform.supervised(home))
    assert all(one.alive for one in before.processes.values())
    after, started = local.up(home)
    assert started
    assert not pids(before) & pids(after)
    assert not any(one.alive for one in before.processes.values())


def test_down_clears_up_after_a_killed_supervisor(home: Home) -> None:
    before, _ = local.up(home)
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: not platform.supervised(home))
    assert local.down(home)
    assert not alive(before)


def command(home: Home, *words: str) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("parley")
    return subprocess.run([program, "--home", home.root, *words], capture_output=True, text=True, timeout=60)


def test_a_platform_that_was_killed_whole_is_told_from_one_that_never_ran(home: Home) -> None:
    never = command(home, "status")
    assert (never.returncode, "no platform runs in" in never.stdout) == (1, True)
    found, _ = local.up(home)
    for pid in pids(found):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(found) and not platform.supervised(home))
    status = command(home, "status")
    assert status.returncode == 1
    assert "it was killed, or the machine went down" in status.stdout
    assert "`parley up` starts it again" in status.stdout
    assert json.loads(command(home, "status", "--json").stdout)["killed"] is True
    assert not local.down(home)  # there was nothing to end, and from now on nobody need hear of it
    assert platform.killed(home) is None
    assert "no platform runs in" in command(home, "status").stdout


def test_a_pid_that_another_process_has_now_is_left_alone(home: Home) -> None:
    home.create()
    stale = platform.Platform(os.getpid(), created=1.0).with_process(
        platform.Process("one", "http://127.0.0.1:1", pid=os.getpid(), created=1.0)
    )
    platform.save(home, stale)
    assert platform.running(home) is None
    assert not local.down(home)  # and this process is still here to say so


def test_members_that_ignore_being_asked_are_made_to_stop_with_their_children(home: Home) -> None:
    members(home, registry="ok", one="stubborn", two="parent")
    found, _ = local.up(home)
    grandchild = int((home.root / "grandchild").read_text())
    assert local.down(home)
    assert not alive(found)
    until(
        lambda: (
            not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
        )
    )


def test_a_platform_nobody_asked_to_keep_ends_with_its_last_user(home: Home) -> None:
    first = local.attach(home)
    second = local.attach(home)
    assert (first.started, second.started) == (True, False)
    assert not first.release()
    assert second.platform.processes["one"].alive
    assert second.release()
    assert not alive(second.platform)


def test_a_platform_that_is_kept_stays(home: Home) -> None:
    use = local.attach(home)
    use.keep()
    assert not use.release()
    assert platform.running(home)


def test_addresses_stay_the_same_over_down_and_up(home: Home) -> None:
    before, _ = local.up(home)
    local.down(home)
    after, _ = local.up(home)
    assert {n: p.url for n, p in before.processes.items()} == {n: p.url for n, p in after.processes.items()}


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("http://127.0.0.1:8420", 2, "is not an address of Nacos; write it like nacos://"),
        ("nacos://ann:geheim@127.0.0.1:9/team", 1, "nacos://127.0.0.1:9/team does not answer"),
    ],
)
def test_a_platform_over_a_nacos_that_is_not_there_is_not_begun(
    tmp_path: Path, address: str, code: int, said: str
) -> None:
    done = parley(tmp_path, "up", "--nacos", address)
    assert (done.returncode, said in done.stderr, "geheim" in done.stderr) == (code, True, False), done.stderr
    assert not Home.at(tmp_path).state.exists()


def test_a_platform_over_another_nacos_is_not_taken_for_the_one_that_is_asked_for(home: Home) -> None:
    local.up(home)
    with pytest.raises(
        local.PlatformError, match=r"runs without Nacos already, not over nacos://127.0.0.1:8848/team"
    ):
        local.up(home, "nacos://ann:geheim@127.0.0.1:8848/team")


def test_each_nacos_has_a_copy_of_its_own() -> None:
    one, same, other = (
        OverNacos.of(url)
        for url in (
            "nacos://ann:geheim@127.0.0.1:8848/team",
            "nacos://bob:secret@127.0.0.1:8848/team",
            "nacos://ann:geheim@127.0.0.1:8848/public",
        )
    )
    assert (one.namespace, OverNacos.of("").namespace) == ("team", "public")
    assert one.store("registry") == same.store("registry") != other.store("registry")
    assert OverNacos.of("").store("registry") == "registry"
    assert "geheim" not in f"{one!r}"
