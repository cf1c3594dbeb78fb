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
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from parley_agents import confine
from parley_agents import scratch as scratch_folders
from parley_agents.process import OUTPUT_LIMIT, Completed, in_thread
from parley_agents.sandboxview import hand_over, make_etc, spare_id, system_view
from parley_agents.watchdog import Exceeded, run_watched
from parley_core.errors import ConfigurationError, ParleyError

Kind = Literal["bubblewrap", "namespaces", "none"]


_found: dict[tuple[str, str], Kind] = {}
"""What was seen to work in this process, by what was asked for and the PATH it was looked for in."""


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
    exceeded: Exceeded = ""


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
        asked = (wanted, os.environ.get("PATH", ""))
        if asked in _found:
            return cls(_found[asked])
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
                _found[asked] = kind
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
            done, exceeded = await run_watched(
                arguments,
                seconds=limits.seconds,
                memory=limits.memory,
                processes=limits.processes,
                output=limits.output,
            )
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
        view = system_view()
        links = dict(view.links)
        mounts = [*view.binds, (str(make_etc(scratch / "etc")), "/etc", False)]
        outer = spare_id() if self.kind == "namespaces" else 0
        for bind in shown:
            mounts.append((os.path.realpath(bind.source), str(bind.target or bind.source), bind.writable))
            if bind.writable and outer:
                hand_over(bind.source, outer)
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


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
