"""Ends the servers of a temporary folder once nobody uses it any more, however its users ended (also by kill -9).

Users hold a shared lock on `<folder>/users`; the kernel lets go of it when they die. A process of its own (this file,
run) waits for the exclusive lock, then kills every `*.pid` of the folder and removes it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from engines.errors import EngineError
from engines.program import Program


class Scratch:
    """A temporary folder of servers, used by one or more processes; it and what runs in it go with the last user."""

    def __init__(self, folder: Path, users: IO[bytes]) -> None:
        self.folder = folder
        self._users = users

    @classmethod
    def create(cls, name: str) -> "Scratch":
        """A new one for this process alone. Other accounts may pass through the folder, not list it."""
        return cls.join(Path(tempfile.mkdtemp(prefix=f"parley-{name}-")))

    @classmethod
    def join(cls, folder: Path) -> "Scratch":
        """Use a folder together with whoever else does; the first to come makes it. Raises EngineError if it is another user's."""
        while True:
            folder.mkdir(mode=0o711, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                raise EngineError(f"{folder} belongs to another user; remove it")
            folder.chmod(0o711)
            users = (folder / "users").open("ab")
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                there = (folder / "users").stat().st_ino == os.fstat(users.fileno()).st_ino
            except FileNotFoundError:
                there = False
            if there:
                scratch = cls(folder, users)
                scratch._keep()
                return scratch
            # Its last user left and the keeper removed it between our open and our lock.
            users.close()

    def locked(self) -> IO[bytes]:
        """A file that one process at a time has open here: what is done under it is done once. Close it to let the next one in."""
        lock = (self.folder / "lock").open("ab")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def leave(self) -> None:
        """Use it no longer; the keeper sees to the rest."""
        self._users.close()

    def remove(self) -> None:
        """Leave as the only user and wait until all is gone. Raises EngineError after 30 seconds."""
        self.leave()
        deadline = time.monotonic() + 30
        while self.folder.exists():
            if time.monotonic() > deadline:
                raise EngineError(
                    f"{self.folder} is still there: something else uses it, or its keeper was killed"
                )
            time.sleep(0.01)

    def _keep(self) -> None:
        try:
            (self.folder / "keeper").touch(exist_ok=False)
        except FileExistsError:
            return
        subprocess.Popen(
            [sys.executable, "-m", "engines.keeper", str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            cwd="/",
            start_new_session=True,
        )


def keep(folder: Path) -> None:
    """Wait for the last user to leave, then end what runs in the folder and remove it."""
    with (folder / "users").open("rb") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        for pid_file in folder.glob("*.pid"):
            Program(pid_file.stem, folder).kill()
        shutil.rmtree(folder)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
