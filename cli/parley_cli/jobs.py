"""What a home remembers of tasks: which agent has them, and for jobs on a repository what they began from."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path

from parley_cli.home import Home, read_json, write_atomically
from parley_core.errors import ParleyError

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class NoSuchTask(ParleyError):
    """No task fits what was asked for."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A task that was begun from this home. `agent` is the name or URL it was begun with, `context` its
    conversation; the rest is set for jobs of the team: the repository and the snapshot taken of it, and the
    folder that the result goes to ("" until it is known)."""

    task: str
    context: str
    agent: str
    text: str
    created: float
    repo: str = ""
    head: str = ""
    snapshot: str = ""
    dirty: bool = False
    out: str = ""


class Jobs:
    """The remembered tasks of one home, one file each."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def remember(self, job: Remembered, snapshot: bytes = b"") -> None:
        """Keep a task, and the bundle of the snapshot it works on."""
        self._home.create()
        if snapshot:
            write_atomically(self._file(job.task, ".bundle"), snapshot)
        write_atomically(self._file(job.task, ".json"), json.dumps(asdict(job)).encode())

    def find(self, task: str) -> Remembered | None:
        """The task with this id, or the only one whose id begins with it; `last` is the latest.

        Raises NoSuchTask when several begin with it, or when `last` is asked for and there is none.
        """
        if task == "last":
            latest = max(self.all(), key=lambda job: job.created, default=None)
            if latest is None:
                raise NoSuchTask("no task was begun from here yet")
            return latest
        exact = _read(self._file(task, ".json"))
        if exact:
            return exact
        found = [job for job in self.all() if job.task.startswith(task)]
        if len(found) > 1:
            raise NoSuchTask(f"{len(found)} tasks begin with {task!r}: give more of the id")
        return found[0] if found else None

    def last_context(self, agent: str) -> str:
        """The context of the latest task begun with an agent. Raises NoSuchTask."""
        own = [job for job in self.all() if job.agent == agent and job.context]
        if not own:
            raise NoSuchTask(f"there is no earlier conversation with {agent} to go on with")
        return max(own, key=lambda job: job.created).context

    def all(self) -> Iterator[Remembered]:
        """Every remembered task, in no order."""
        for path in self._home.jobs.glob("*.json"):
            job = _read(path)
            if job:
                yield job

    def snapshot(self, job: Remembered) -> bytes:
        """The bundle of the snapshot; b"" when it is no longer kept."""
        try:
            return self._file(job.task, ".bundle").read_bytes()
        except OSError:
            return b""

    def drop_snapshot(self, job: Remembered) -> None:
        """Let go of the bundle: the result has been written."""
        self._file(job.task, ".bundle").unlink(missing_ok=True)

    def _file(self, task: str, suffix: str) -> Path:
        return self._home.jobs / f"{file_name(task)}{suffix}"


def new(task: str, context: str, agent: str, text: str) -> Remembered:
    """A task begun now; of `text` the beginning is kept."""
    return Remembered(task, context, agent, text[:500], time.time())


def file_name(task: str) -> str:
    """A file name for a task id, which an agent chooses and which may hold anything."""
    return task if _SAFE.fullmatch(task) else sha256(task.encode()).hexdigest()[:32]


def _read(path: Path) -> Remembered | None:
    told = read_json(path)
    known = {one.name for one in fields(Remembered)}
    try:
        return Remembered(**{k: v for k, v in told.items() if k in known}) if told else None
    except TypeError:
        return None
