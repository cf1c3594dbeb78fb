"""One server process: started, watched, stopped, killed, frozen. It may outlive whoever started it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from engines.errors import EngineError


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a server runs as when root starts it, for those that refuse root."""

    uid: int
    gid: int


class Program:
    """A named process with its pid and its output in a folder, by which other processes find it too."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._pid_file = folder / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None
        self._said_before = 0

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
    ) -> None:
        """Start it in a session of its own, its output appended to the log. Raises EngineError if it runs already."""
        if self.running:
            raise EngineError(f"{self.name} runs already")
        with self.log.open("ab") as log:
            self._said_before = log.tell()
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        born = psutil.Process(self._child.pid).create_time()
        half = self._pid_file.with_suffix(".new")
        half.write_text(f"{self._child.pid} {born}\n")
        half.rename(self._pid_file)

    def wait_until(self, ready: Callable[[], bool], timeout: float = 60) -> None:
        """Return once `ready()` holds. Raises EngineError with the log's end if it dies or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise EngineError(f"{self.name} ended while starting:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise EngineError(f"{self.name} was not ready after {timeout:.0f} s:\n{self.tail()}")
            time.sleep(0.02)

    def said(self, text: str) -> bool:
        """Whether its output has the text, since this object last started it."""
        with self.log.open("rb") as log:
            log.seek(self._said_before)
            return text.encode() in log.read()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process()
        return process.pid if process else None

    @property
    def running(self) -> bool:
        """Whether the process is there (a frozen one is)."""
        return self._process() is not None

    def tail(self, lines: int = 20) -> str:
        """The end of what it wrote."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def kill(self) -> None:
        """SIGKILL it and all its children at once, as a machine that loses power would; they are gone on return."""
        self._end(signal.SIGKILL, self._tree(), timeout=20)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 120) -> None:
        """Ask it to end and wait; what has not ended after `timeout` seconds is killed. Nothing if it does not run."""
        process = self._process()
        if process is None:
            return
        self.resume()
        tree = self._tree()
        try:
            self._end(how, [process], timeout)
        except EngineError:
            self._end(signal.SIGKILL, tree, timeout=20)
        self._end(signal.SIGKILL, [member for member in tree if member.is_running()], timeout=20)

    def pause(self) -> None:
        """SIGSTOP it and its children: connections stay, answers do not come."""
        for process in self._tree():
            _signal(process, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after pause()."""
        for process in self._tree():
            _signal(process, signal.SIGCONT)

    def _process(self) -> psutil.Process | None:
        if self._child is not None:
            self._child.poll()
        try:
            pid, born = self._pid_file.read_text().split()
            process = psutil.Process(int(pid))
            if abs(process.create_time() - float(born)) > 1 or process.status() == psutil.STATUS_ZOMBIE:
                return None
            return process
        except (FileNotFoundError, psutil.NoSuchProcess):
            return None

    def _tree(self) -> list[psutil.Process]:
        process = self._process()
        try:
            return [process, *process.children(recursive=True)] if process else []
        except psutil.NoSuchProcess:
            return []

    def _end(self, how: signal.Signals, processes: Sequence[psutil.Process], timeout: float) -> None:
        for process in processes:
            _signal(process, how)
        deadline = time.monotonic() + timeout
        while any(map(_alive, processes)):
            if self._child is not None:
                self._child.poll()
            if time.monotonic() > deadline:
                raise EngineError(f"{self.name} did not end within {timeout:.0f} s of {how.name}")
            time.sleep(0.01)


def _signal(process: psutil.Process, how: signal.Signals) -> None:
    try:
        process.send_signal(how)
    except psutil.NoSuchProcess:
        return


def _alive(process: psutil.Process) -> bool:
    # Where no init reaps orphans they stay as zombies; they hold nothing any more.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
