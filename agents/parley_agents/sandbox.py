"""Run untrusted commands: no network, own process tree, a file system of what is listed and nothing else.

| restriction | by |
|---|---|
| no network but the command's own loopback | network namespace |
| only listed folders, read-only unless said; no home, no host /etc, /run, /var | mount namespace, new root |
| cannot see or signal other processes; the whole tree dies with it | PID namespace |
| no privilege to be gained | user namespace, empty capability sets, no_new_privs |
| memory, processes | RLIMIT_DATA and RLIMIT_NPROC for each process, a watchdog for the sum of all |
| CPU time, file size, open files, no core dumps | RLIMIT_CPU, _FSIZE, _NOFILE, _CORE for each process |
| wall clock, amount of output | the caller's side, which kills the tree |
| no secrets in the environment | it is built from nothing |

bubblewrap is used where it is installed and works, else the same is done with namespaces by `confine.py`
(for root and ordinary users alike). Where neither is possible running is refused, unless PARLEY_SANDBOX=none
says to run without: then only the limits, the watchdog and the scrubbed environment remain.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from parley_agents import confine
from parley_agents import scratch as scratch_folders
from parley_agents.process import OUTPUT_LIMIT, Completed, in_thread, run
from parley_core.errors import ConfigurationError, ParleyError

Kind = Literal["bubblewrap", "namespaces", "none"]

CHECK_SECONDS = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NOBODY = 65534
_ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "mime.types", "services",
    "protocols", "alternatives", "ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "ca-certificates",
)  # fmt: skip
_ETC_MADE = {
    "passwd": "root:x:0:0::/nonexistent:/bin/sh\nsandbox:x:1000:1000::/tmp/home:/bin/sh\n",
    "group": "root:x:0:\nsandbox:x:1000:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "",
}


class SandboxError(ParleyError):
    """The sandbox could not be made; the message says why and what can be done."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a command may use. Seconds and bytes; `memory` and `processes` hold for all of it together."""

    seconds: float = 600.0
    cpu_seconds: float = 1200.0
    memory: int = 2 * 1024**3
    processes: int = 256
    file_size: int = 512 * 1024**2
    open_files: int = 1024
    output: int = OUTPUT_LIMIT


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of ours shown at `target` inside (default: at the same path)."""

    source: Path
    target: Path | None = None
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Confined:
    """How a confined command ended. `exceeded` names the limit it was killed for, "" if none."""

    result: Completed
    sandbox: Kind
    exceeded: Literal["", "time", "memory", "processes"] = ""


@dataclass(frozen=True, slots=True)
class _View:
    binds: list[tuple[str, str, bool]] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)


@cache
def _system_view() -> _View:
    """Programs and libraries of this machine, without anything personal."""
    view = _View()
    view.binds.append(("/usr", "/usr", False))
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            view.links[f"/{name}"] = os.readlink(path)
        elif path.is_dir():
            view.binds.append((str(path), str(path), False))
    if Path("/nix/store").is_dir():
        view.binds.append(("/nix/store", "/nix/store", False))
    prefix = os.path.realpath(sys.base_prefix)
    if not any(prefix == top or prefix.startswith(top + "/") for top, _, _ in view.binds):
        view.binds.append((prefix, prefix, False))
    return view


class Sandbox:
    """Runs commands confined. Make one with `Sandbox.choose` and keep it: finding out what works takes a moment."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind

    @classmethod
    async def choose(cls, wanted: Literal["auto", "bubblewrap", "namespaces", "none"] = "auto") -> "Sandbox":
        """The sandbox asked for, or the strongest that works here.

        Raises ConfigurationError when it does not work here, with the reason.
        """
        if wanted == "none":
            return cls("none")
        kinds: tuple[Kind, ...] = ("bubblewrap", "namespaces") if wanted == "auto" else (wanted,)
        reasons = []
        for kind in kinds:
            if kind == "bubblewrap" and not shutil.which("bwrap"):
                reasons.append("bubblewrap: bwrap is not installed")
                continue
            try:
                done = await cls(kind).run(["true"], limits=Limits(seconds=20.0))
            except (SandboxError, OSError) as error:
                reasons.append(f"{kind}: {error}")
                continue
            if done.result.returncode == 0:
                return cls(kind)
            reasons.append(f"{kind}: {done.result.errors.strip() or 'it does not run a command'}")
        raise ConfigurationError(
            "no sandbox works here, so the repository's code is not run ("
            + "; ".join(reasons)
            + "). Install bubblewrap or allow unprivileged user namespaces; "
            "PARLEY_SANDBOX=none runs it unconfined, which is only for code you trust"
        )

    async def run(
        self,
        command: Sequence[str],
        *,
        binds: Iterable[Bind] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        network: bool = False,
    ) -> Confined:
        """Run `command` with the system's programs and `binds` in sight, in `cwd` (default: /tmp, private).

        Writable binds are handed to the confined user when we are root. On cancellation or when a limit is
        passed every process of the command is killed before this returns.

        Raises SandboxError when the sandbox cannot be made.
        """
        limits = limits or Limits()
        shown = list(binds)
        scratch = scratch_folders.make("sandbox")
        try:
            arguments = await in_thread(
                self._arguments, command, shown, cwd, env or {}, limits, network, scratch
            )
            done, exceeded = await _watched(arguments, limits)
        finally:
            await asyncio.shield(asyncio.to_thread(_remove, scratch))
        if done.returncode == confine.FAILED and confine.MARK in done.errors:
            raise SandboxError(done.errors.rsplit(confine.MARK, 1)[1].strip())
        if self.kind == "bubblewrap" and done.returncode == 1 and done.errors.startswith("bwrap: "):
            raise SandboxError(done.errors.strip())
        return Confined(done, self.kind, exceeded)

    def _arguments(
        self,
        command: Sequence[str],
        shown: list[Bind],
        cwd: Path | None,
        env: Mapping[str, str],
        limits: Limits,
        network: bool,
        scratch: Path,
    ) -> list[str]:
        spec: dict[str, Any] = {
            "argv": list(command),
            "cwd": str(cwd or "/tmp"),
            "env": {
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": "/tmp/home",
                "TMPDIR": "/tmp",
                "LANG": "C.UTF-8",
                "LC_ALL": "C.UTF-8",
                "USER": "sandbox",
                **env,
            },
            "limits": {
                "DATA": limits.memory,
                "NPROC": limits.processes,
                "CPU": max(1, int(limits.cpu_seconds)),
                "FSIZE": limits.file_size,
                "NOFILE": limits.open_files,
                "CORE": 0,
            },
            "nice": 5,
        }
        program = [sys.executable, "-I", "-S", confine.__file__]
        if self.kind == "none":
            # The number of processes is counted for the whole user here: the watchdog alone judges it.
            del spec["limits"]["NPROC"]
            home = scratch / "home"
            home.mkdir()
            spec["env"] |= {"HOME": str(home), "TMPDIR": str(home), **env}
            spec["cwd"] = str(cwd or home)
            return [*program, "limits", json.dumps(spec)]
        view = _system_view()
        links = dict(view.links)
        mounts = [*view.binds, (str(_make_etc(scratch / "etc")), "/etc", False)]
        outer = _spare_id() if self.kind == "namespaces" else 0
        for bind in shown:
            mounts.append((os.path.realpath(bind.source), str(bind.target or bind.source), bind.writable))
            if bind.writable and outer:
                _hand_over(bind.source, outer)
        spec["argv"] = ["/bin/sh", "-c", 'mkdir -p "$HOME" && exec "$@"', "sh", *command]
        if self.kind == "bubblewrap":
            return _bubblewrap(spec, mounts, links, network, limits.memory)
        root = scratch / "root"
        root.mkdir()
        scratch.chmod(0o755)
        tmpfs = {"/tmp": limits.memory // 2, "/dev/shm": limits.memory // 4}
        spec |= {
            "root": str(root),
            "binds": mounts,
            "links": links,
            "tmpfs": tmpfs,
            "network": network,
            "uid": outer,
        }
        return [*program, "namespaces", json.dumps(spec)]


def _bubblewrap(
    spec: dict[str, Any],
    mounts: list[tuple[str, str, bool]],
    links: dict[str, str],
    network: bool,
    memory: int,
) -> list[str]:
    inner = "/run/parley-confine.py"
    arguments = [
        "bwrap",
        "--unshare-all",
        *(["--share-net"] if network else []),
        "--die-with-parent",
        "--new-session",
    ]
    arguments += [
        "--cap-drop",
        "ALL",
        "--hostname",
        "sandbox",
        "--unshare-user",
        "--uid",
        "1000",
        "--gid",
        "1000",
    ]
    arguments += ["--clearenv", "--proc", "/proc", "--dev", "/dev"]
    arguments += [
        "--size",
        str(memory // 2),
        "--tmpfs",
        "/tmp",
        "--size",
        str(memory // 4),
        "--tmpfs",
        "/dev/shm",
    ]
    for target, text in links.items():
        arguments += ["--symlink", text, target]
    for source, target, writable in (*mounts, (confine.__file__, inner, False)):
        arguments += ["--bind" if writable else "--ro-bind", source, target]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--"]
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return [*arguments, interpreter, "-I", "-S", inner, "limits", json.dumps(spec)]


def _make_etc(place: Path) -> Path:
    place.mkdir()
    place.chmod(0o755)
    for name in _ETC:
        source = Path("/etc") / name
        with suppress(OSError, shutil.Error):  # what is missing or not ours to read stays out
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place / name, symlinks=True)
            elif source.exists():
                shutil.copy(source, place / name)
    for name, text in _ETC_MADE.items():
        (place / name).write_text(text)
    return place


def _spare_id() -> int:
    """For root: an id other than root's to run as, if this machine maps one; else 0."""
    if os.geteuid() != 0:
        return 0
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, length = (int(number) for number in line.split())
        if first <= _NOBODY < first + length:
            return _NOBODY
    return 0


def _hand_over(path: Path, owner: int) -> None:
    for top, folders, files in os.walk(path):
        os.lchown(top, owner, owner)
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                os.lchown(os.path.join(top, name), owner, owner)
    if not path.is_dir():
        os.lchown(path, owner, owner)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


async def _watched(
    arguments: Sequence[str], limits: Limits
) -> tuple[Completed, Literal["", "time", "memory", "processes"]]:
    exceeded: list[Literal["memory", "processes"]] = []

    async def watch(pid: int) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            pids, memory = await asyncio.to_thread(_usage, pid)
            if memory > limits.memory or len(pids) > limits.processes + 8:
                exceeded.append("memory" if memory > limits.memory else "processes")
                for victim in (pid, *pids):
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(victim, signal.SIGKILL)

    done = await run(
        arguments,
        timeout=limits.seconds,
        output_limit=limits.output,
        watch=watch,
        tree=lambda pid: _usage(pid)[0],
    )
    if done.timed_out:
        return done, "time"
    return done, exceeded[0] if exceeded else ""


def _usage(root: int) -> tuple[list[int], int]:
    """The descendants of a process, and the bytes of memory they and it have to themselves."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                stat = Path(f"/proc/{entry.name}/stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, todo, memory = [], [root], 0
    while todo:
        pid = todo.pop()
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            memory += max(0, int(fields[1]) - int(fields[2])) * _PAGE
        below = children.get(pid, [])
        found += below
        todo += below
    return found, memory


def with_time(limits: Limits, seconds: float) -> Limits:
    """The same limits with another wall clock time; CPU time follows (two cores' worth)."""
    return replace(limits, seconds=seconds, cpu_seconds=2 * seconds)
