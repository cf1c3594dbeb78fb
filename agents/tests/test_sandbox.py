"""Each restriction of the sandbox, proved by code that tries to break it, on every kind that works here."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from parley_agents import confine
from parley_agents.process import run
from parley_agents.sandbox import Bind, Confined, Limits, Sandbox
from parley_core.errors import ConfigurationError

PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(params=["namespaces", "bubblewrap"])
async def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    try:
        return await Sandbox.choose(request.param)
    except ConfigurationError as error:
        pytest.skip(str(error))


async def python(sandbox: Sandbox, code: str, *binds: Bind, limits: Limits | None = None) -> Confined:
    return await sandbox.run(
        [PYTHON, "-I", "-c", textwrap.dedent(code)], binds=binds, limits=limits or Limits(seconds=20)
    )


async def test_a_command_runs_with_the_systems_programs_and_its_exit_code_comes_back(
    sandbox: Sandbox,
) -> None:
    done = await sandbox.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (done.result.returncode, done.result.text, done.result.errors) == (7, "out\n", "err\n")
    assert (done.sandbox, done.exceeded) == (sandbox.kind, "")
    assert (await sandbox.run(["no-such-program"])).result.returncode == 127


async def test_there_is_no_network_but_its_own_loopback(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        done = await python(
            sandbox,
            f"""
            import socket
            for address in (("127.0.0.1", {ours.getsockname()[1]}), ("192.0.2.1", 80)):
                try:
                    socket.create_connection(address, 2)
                except OSError as error:
                    print(type(error).__name__)
            server = socket.create_server(("127.0.0.1", 0))
            socket.create_connection(server.getsockname(), 2)
            print("own")
            """,
        )
    assert done.result.text.split() == ["ConnectionRefusedError", "OSError", "own"]


async def test_only_what_is_bound_can_be_seen_and_only_writable_binds_written(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for name in ("copy", "libs", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    done = await python(
        sandbox,
        f"""
        import os
        print(open("/repo/file").read(), open("{tmp_path}/libs/file").read(), os.path.exists("{tmp_path}/other"))
        open("/repo/new", "w").write("made inside")
        for path in ("{tmp_path}/libs/file", "{tmp_path}/libs/new", "/usr/new", "/etc/passwd", "/new", "/dev/new"):
            try:
                open(path, "w")
                print("wrote", path)
            except OSError:
                pass
        """,
        Bind(tmp_path / "copy", Path("/repo"), writable=True),
        Bind(tmp_path / "libs"),
    )
    assert done.result.text == "copy libs False\n", done.result.errors
    assert (tmp_path / "copy/new").read_text() == "made inside"


async def test_the_users_home_and_environment_are_out_of_sight(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Path.home() / f".parley-test-secret-{os.getpid()}"
    secret.write_text("s3cret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    try:
        done = await python(
            sandbox,
            f"""
            import os, glob
            print(os.path.exists("{secret}"), "s3cret" in str(os.environ), os.environ["HOME"])
            print(os.path.exists("/etc/shadow"), glob.glob("/var/*"), glob.glob("/mnt/*"))
            print(any(b"s3cret" in open(p, "rb").read() for p in glob.glob("/proc/*/environ") if os.access(p, os.R_OK)))
            """,
        )
    finally:
        secret.unlink()
    assert done.result.text == "False False /tmp/home\nFalse [] []\nFalse\n"


async def test_other_processes_cannot_be_seen_or_signalled(sandbox: Sandbox) -> None:
    done = await python(
        sandbox,
        f"""
        import os
        print(os.path.exists("/proc/{os.getpid()}/cmdline") and b"pytest" in open("/proc/{os.getpid()}/cmdline", "rb").read())
        print(len([p for p in os.listdir("/proc") if p.isdigit()]) < 6)
        """,
    )
    assert done.result.text == "False\nTrue\n"


async def test_no_privilege_is_held_or_to_be_gained(sandbox: Sandbox) -> None:
    done = await python(
        sandbox,
        """
        import ctypes, os
        status = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
        print(os.getuid() != 0, int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"].strip())
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None), libc.umount2(b"/usr", 2), libc.chroot(b"/tmp"))
        """,
    )
    assert done.result.text == "True 0 0 1\n-1 -1 -1\n"


async def test_a_fork_bomb_is_contained_and_leaves_nothing_behind(sandbox: Sandbox) -> None:
    done = await python(
        sandbox,
        """
        import os, time
        made = 0
        while True:
            try:
                if os.fork() == 0:
                    time.sleep(60)
                    os._exit(0)
                made += 1
            except OSError:
                print("held at", made, flush=True)
                os._exit(0)
        """,
        limits=Limits(seconds=20, processes=40),
    )
    assert done.exceeded == "processes" or int(done.result.text.split()[-1]) <= 40
    assert done.result.seconds < 18
    assert _sleepers() == 0


def _sleepers() -> int:
    """Processes running the fork bomb's program."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found += b"held at" in (entry / "cmdline").read_bytes()
            except OSError:
                continue
    return found


async def test_one_process_that_takes_too_much_memory_is_refused_it(sandbox: Sandbox) -> None:
    done = await python(
        sandbox,
        """
        try:
            kept = bytearray(400 * 2**20)
            print("got it")
        except MemoryError:
            print("refused")
        """,
        limits=Limits(seconds=20, memory=200 * 2**20),
    )
    assert done.result.text == "refused\n"


async def test_many_processes_that_take_too_much_memory_together_are_killed(sandbox: Sandbox) -> None:
    done = await python(
        sandbox,
        """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                kept = bytearray(b"x" * (80 * 2**20))
                time.sleep(60)
        time.sleep(60)
        """,
        limits=Limits(seconds=30, memory=200 * 2**20),
    )
    assert done.exceeded == "memory"


async def test_time_cpu_time_file_size_and_output_are_bounded(sandbox: Sandbox, tmp_path: Path) -> None:
    slept = await python(sandbox, "import time; time.sleep(60)", limits=Limits(seconds=1))
    assert slept.exceeded == "time"
    assert slept.result.seconds < 30
    spun = await python(sandbox, "while True: pass", limits=Limits(seconds=20, cpu_seconds=1))
    assert spun.result.returncode != 0
    assert spun.result.seconds < 18
    wrote = await python(
        sandbox,
        "f = open('/repo/big', 'wb')\nfor _ in range(64): f.write(b'x' * 2**20)",
        Bind(tmp_path, Path("/repo"), writable=True),
        limits=Limits(seconds=20, file_size=2**20),
    )
    assert wrote.result.returncode != 0
    assert (tmp_path / "big").stat().st_size <= 2**20
    said = await python(sandbox, "print('x' * 10**6)", limits=Limits(seconds=20, output=1000))
    assert (len(said.result.stdout), said.result.truncated) == (1000, True)


async def test_cancelling_kills_the_whole_tree(sandbox: Sandbox, tmp_path: Path) -> None:
    tick = tmp_path / "tick"
    code = """
        import os, time
        os.setsid()
        if os.fork() == 0:
            os.setsid()
        while True:
            open("/repo/tick", "a").write("x")
            time.sleep(0.02)
    """
    task = asyncio.create_task(python(sandbox, code, Bind(tmp_path, Path("/repo"), writable=True)))
    deadline = time.monotonic() + 10
    while not tick.exists() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before = tick.stat().st_size
    await asyncio.sleep(0.3)
    assert tick.stat().st_size == before


async def test_a_background_process_does_not_outlive_its_command(sandbox: Sandbox, tmp_path: Path) -> None:
    await sandbox.run(
        [
            "sh",
            "-c",
            "setsid sh -c 'while :; do echo x >> /repo/tick; sleep 0.02; done' >/dev/null 2>&1 & sleep 0.2",
        ],
        binds=[Bind(tmp_path, Path("/repo"), writable=True)],
        limits=Limits(seconds=10),
    )
    before = (tmp_path / "tick").stat().st_size
    await asyncio.sleep(0.3)
    assert (tmp_path / "tick").stat().st_size == before


async def test_without_a_sandbox_running_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("parley_agents.sandbox.confine.__file__", "/nowhere/confine.py")
    with pytest.raises(ConfigurationError, match="PARLEY_SANDBOX=none"):
        await Sandbox.choose("auto")
    assert (await Sandbox.choose("none")).kind == "none"


async def test_unconfined_runs_still_have_limits_and_a_clean_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    sandbox = Sandbox("none")
    done = await python(
        sandbox, "import os; print('s3cret' in str(os.environ), os.environ['HOME'] != '/root')"
    )
    assert (done.result.text, done.sandbox) == ("False True\n", "none")
    assert (await python(sandbox, "import time; time.sleep(60)", limits=Limits(seconds=1))).exceeded == "time"


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/usr/bin/python3").exists(), reason="needs root and a system Python"
)
def test_an_ordinary_user_gets_the_same_namespaces() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = Path(folder) / "root"
        root.mkdir()
        os.chown(root, 65534, 65534)
        program = shutil.copy(confine.__file__, folder)
        os.chmod(program, 0o644)
        spec = {
            "argv": ["sh", "-c", "id -u; ls /; grep CapEff /proc/self/status; cat /proc/net/dev | wc -l"],
            "cwd": "/tmp",
            "env": {"PATH": "/usr/bin:/bin"},
            "limits": {"NPROC": 20},
            "nice": 5,
            "root": str(root),
            "binds": [["/usr", "/usr", False]],
            "links": {f"/{name}": f"usr/{name}" for name in ("bin", "lib", "lib64")},
            "tmpfs": {"/tmp": 1_000_000},
            "network": False,
            "uid": 0,
        }
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-S", program, "namespaces", json.dumps(spec)],
            user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=20,
        )  # fmt: skip
    if confine.MARK in done.stderr and "unshare" in done.stderr:
        pytest.skip(f"user namespaces are closed to ordinary users here: {done.stderr}")
    expected = ["1000", "bin", "dev", "lib", "lib64", "proc", "tmp", "usr", "CapEff:\t0000000000000000", "3"]
    assert done.stdout.splitlines() == expected, done.stderr


async def test_a_watcher_that_fails_ends_what_it_watched() -> None:
    async def faulty_watcher(pid: int) -> None:
        raise RuntimeError("cannot watch")

    started = time.monotonic()
    with pytest.raises(RuntimeError, match="cannot watch"):
        await run(["sleep", "30"], watch=faulty_watcher)
    assert time.monotonic() - started < 25
