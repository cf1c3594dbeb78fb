"""The home of an embedded platform: one folder with everything that `parley` keeps."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from parley_core.errors import ConfigurationError, ParleyError

DEFAULT = ".parley"


class HomeBusy(ParleyError):
    """Another `parley` command holds the home for too long."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are under the home folder; nothing is created before it is needed."""

    root: Path

    @classmethod
    def at(cls, path: str | Path | None = None) -> "Home":
        """The home at `path`, else at PARLEY_HOME, else `.parley` in the current directory."""
        chosen = path or os.environ.get("PARLEY_HOME") or DEFAULT
        return cls(Path(chosen).expanduser().absolute())

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def state(self) -> Path:
        return self.run / "state.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def signing_keys(self) -> Path:
        """The keys that sign the cards of the platform's agents."""
        return self.data / "signing-keys.json"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def kept(self) -> Path:
        """Exists while the platform is meant to outlive the command that started it."""
        return self.run / "kept"

    def create(self) -> None:
        """Make the folders, readable by their owner alone. Raises ConfigurationError when that is impossible."""
        try:
            for folder in (self.root, self.run, self.logs, self.data, self.jobs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")  # a home inside a repository must not show up in it
        except OSError as error:
            raise ConfigurationError(
                f"cannot use {self.root} as Parley's home ({error.strerror}); choose another with --home or PARLEY_HOME"
            ) from error

    def lock(self, name: str) -> IO[str]:
        """The open lock file `name`; the lock taken on it with fcntl.flock lives as long as the file is open,
        so the death of its holder, however sudden, sets it free."""
        self.create()
        return open(self.run / f"{name}.lock", "a+")

    @contextmanager
    def held(self, name: str, *, timeout: float) -> Iterator[None]:
        """Hold a lock alone for a block. Raises HomeBusy after `timeout` seconds."""
        with self.lock(name) as file:
            deadline = time.monotonic() + timeout
            while not try_lock(file, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise HomeBusy(
                        f"another parley command has been busy in {self.root} for {timeout:.0f} s; "
                        "wait for it or end it, then try again"
                    )
                time.sleep(0.05)
            yield


def try_lock(file: IO[str], kind: int) -> bool:
    """Whether the lock (fcntl.LOCK_EX or LOCK_SH) could be had at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader sees the old file or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None when there is no such file or it does not hold one."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
