"""What all engines have in common: a folder that may be temporary, and an end."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from engines.keeper import Scratch
from engines.program import Program


class Server(ABC):
    """A server in a folder. Without one its data is temporary: it goes with close() or the end of this process, even by kill -9."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self._scratch = Scratch.create(name) if folder is None else None
        place = self._scratch.folder if self._scratch else Path(folder or "")
        self.folder = place / name

    @abstractmethod
    def start(self) -> Self:
        """Start what does not run and return once it serves, on the ports and data it had. Raises EngineError."""

    @abstractmethod
    def stop(self) -> None:
        """Ask it to end and wait; ports and data stay for the next start."""

    @abstractmethod
    def kill(self) -> None:
        """kill -9."""

    def close(self) -> None:
        """Stop it; if its folder is temporary, remove that too."""
        if self._scratch:
            self.kill()
            self._scratch.remove()
        else:
            self.stop()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SingleServer(Server):
    """A server that is one process (with its children)."""

    def __init__(self, name: str, folder: Path | None) -> None:
        super().__init__(name, folder)
        self._program = Program(name, self.folder.parent)

    @property
    def running(self) -> bool:
        """Whether its first process is there (a frozen one is)."""
        return self._program.running

    @property
    def pid(self) -> int | None:
        """Its first process while it runs."""
        return self._program.pid

    @property
    def log(self) -> str:
        """The end of its log."""
        return self._program.tail(200)

    def stop(self) -> None:
        """SIGTERM; ports and data stay for the next start."""
        self._program.stop()

    def kill(self) -> None:
        """kill -9 of all its processes: nothing is flushed, the next start recovers."""
        self._program.kill()

    def restart(self) -> None:
        """Stop if it runs, and start on the same ports and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._program.pause()

    def resume(self) -> None:
        """Go on after pause()."""
        self._program.resume()
