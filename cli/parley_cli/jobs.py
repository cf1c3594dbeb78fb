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

KEPT = 50
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class NoSuchTask(ParleyError):
    """No task fits what was asked for."""

    misuse = True


@dataclass(frozen=True, slots=True)
class Remembered:
    """A task that was begun from this home. `agent` is the name or URL it was begun with, `context` its
    conversation; the rest is set for jobs of the team: the repository and the snapshot taken of it, and the
    folder that the result goes to, and the commit on top of the snapshot that was delivered."""

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
    delivered: str = ""


class Jobs:
    """The remembered tasks of one home, one file each."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def remember(self, job: Remembered, **bundles: bytes) -> None:
        """Keep a task, and bundles of it by name: the `snapshot` it works on, the `change` it delivered.

        Of the bundles those of the latest KEPT tasks are kept.
        """
        self._home.create()
        for name, bundle in bundles.items():
            write_atomically(self._file(job.task, f".{name}.bundle"), bundle)
        write_atomically(self._file(job.task, ".json"), json.dumps(asdict(job)).encode())
        files = sorted(self._home.jobs.glob("*.bundle"), key=lambda path: path.stat().st_mtime)
        for path in files[: -2 * KEPT]:
            path.unlink(missing_ok=True)

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

    def last_in(self, agent: str, context: str) -> Remembered:
        """The latest task begun with an agent in a context ("last": in any). Raises NoSuchTask."""
        own = [j for j in self.all() if j.agent == agent and j.context and context in ("last", j.context)]
        if not own:
            raise NoSuchTask(f"there is no earlier conversation {context!r} with {agent} to go on with")
        return max(own, key=lambda job: job.created)

    def all(self) -> Iterator[Remembered]:
        """Every remembered task, in no order."""
        for path in self._home.jobs.glob("*.json"):
            job = _read(path)
            if job:
                yield job

    def bundle(self, job: Remembered, name: str) -> bytes:
        """A bundle of a task; b"" when there is none, or it is no longer kept."""
        try:
            return self._file(job.task, f".{name}.bundle").read_bytes()
        except OSError:
            return b""

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
