"""What is known of an embedded platform: its processes as they were last written to `run/state.json`."""

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from parley_cli.home import Home, read_json, try_lock, write_atomically
from parley_cli.overnacos import NO_NACOS, OverNacos

Phase = Literal["starting", "up", "waiting to restart", "stopped"]


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the platform. `created` (seconds) tells it from another one that got the same `pid` later."""

    name: str
    url: str
    phase: Phase = "starting"
    pid: int = 0
    created: float = 0.0
    restarts: int = 0
    note: str = ""
    """Why it ended last, if it did."""

    @property
    def alive(self) -> bool:
        """Whether this very process runs now."""
        return find_process(self.pid, self.created) is not None


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform of a home. `ready` once every skill of the team could be found; `failed` says why it gave up."""

    pid: int
    created: float
    processes: Mapping[str, Process] = field(default_factory=dict)
    ready: bool = False
    failed: str = ""
    blobs: str = ""
    """Where large parts of messages are read by signed URL."""
    over: OverNacos = NO_NACOS
    """The Nacos whose agents the registry serves, if any."""

    @property
    def registry(self) -> str:
        """URL of the registry service, which names the team's namespace if that is not public."""
        url = self.processes["registry"].url
        return url if self.over.namespace == "public" else f"{url}?namespace={self.over.namespace}"

    def with_process(self, process: Process) -> "Platform":
        """The same platform with one process changed."""
        return replace(self, processes={**self.processes, process.name: process})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "processes": [asdict(one) for one in self.processes.values()]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Platform":
        """Raises KeyError or TypeError when `told` is not what `to_json` writes."""
        processes = {one["name"]: Process(**one) for one in told["processes"]}
        return cls(
            told["pid"],
            told["created"],
            processes,
            told["ready"],
            told["failed"],
            told["blobs"],
            OverNacos(**told["over"]),
        )


def find_process(pid: int, created: float) -> psutil.Process | None:
    """The process with this pid if it is the one that was started at `created`, and not a corpse."""
    try:
        found = psutil.Process(pid)
        # The start time is in clock ticks of 10 ms, measured against a boot time that may be corrected a little.
        same = pid > 0 and abs(found.create_time() - created) < 2.0
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
        return None


def save(home: Home, platform: Platform) -> None:
    """Write the state for other commands to see."""
    write_atomically(home.state, json.dumps(platform.to_json(), indent=1).encode())


def load(home: Home) -> Platform | None:
    """What was last written, whether or not it still runs; None when there is nothing (readable)."""
    told = read_json(home.state)
    try:
        return Platform.from_json(told) if told else None
    except (KeyError, TypeError):
        return None


def supervised(home: Home) -> bool:
    """Whether a supervisor runs for this home: it holds its lock as long as it lives."""
    if not home.run.is_dir():
        return False
    with home.lock("supervisor") as file:
        return not try_lock(file, fcntl.LOCK_SH)


def running(home: Home) -> Platform | None:
    """The platform that runs in this home now, ready or on its way; None when none does."""
    return load(home) if supervised(home) else None


def killed(home: Home) -> Platform | None:
    """The platform that ran here last, if it is gone without having been ended: its supervisor was killed, or the
    machine went down. Members of it may still run."""
    last = None if supervised(home) else load(home)
    return last if last and any(one.phase != "stopped" for one in last.processes.values()) else None


def stopped(platform: Platform, failed: str = "") -> Platform:
    """The same platform with nothing of it running any more."""
    members = {
        name: replace(one, phase="stopped", pid=0, created=0.0) for name, one in platform.processes.items()
    }
    return replace(platform, processes=members, ready=False, failed=failed)


def end(processes: list[psutil.Process], *, patience: float) -> None:
    """Ask processes to stop and, after `patience` seconds, make them, together with all they started.

    Returns when all are gone.
    """
    family = descendants([one.pid for one in processes])
    for one in processes:
        _signal(one, kill=False)
    psutil.wait_procs(processes, timeout=patience)
    for one in family:
        _signal(one, kill=True)
    psutil.wait_procs(family, timeout=5.0)


def descendants(pids: list[int]) -> list[psutil.Process]:
    """The processes with these ids and all that they have started, and those in turn."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found |= {one.pid: one for one in (process, *process.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        pass


def last_line(path: Path) -> str:
    """The last line of a log that says something, cut to 300 characters."""
    try:
        lines = path.read_bytes()[-8192:].decode("utf-8", "replace").splitlines()
    except OSError:
        return "it wrote no log"
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it wrote no log")
