"""A server of several processes, each of which can be killed and started alone."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from engines.errors import EngineError
from engines.program import Program
from engines.server import Server


@dataclass(frozen=True, slots=True)
class Part:
    """One of the processes."""

    command: Callable[[], list[str]]
    ready: Callable[[], bool] = lambda: True
    environment: Mapping[str, str] | None = None
    slow_to_end: float = 20
    """Seconds from SIGTERM to SIGKILL."""


class PartedServer(Server):
    """Methods that take names of parts mean all of them when none is named. All calls block."""

    def __init__(self, name: str, folder: Path | None) -> None:
        super().__init__(name, folder)
        self._programs: dict[str, Program] = {}

    @abstractmethod
    def _prepare(self) -> None:
        """What the first part needs before it is started; called at every start."""

    @abstractmethod
    def _parts(self) -> Mapping[str, Part]:
        """All parts in the order in which they start."""

    def start(self, *parts: str) -> Self:
        """Start those that do not run, in order; on return they are ready, at the addresses they had. Raises EngineError."""
        self._prepare()
        for name, part in self._chosen(parts).items():
            program = self._program(name)
            if not program.running:
                program.start(part.command(), environment=part.environment, cwd=self.folder)
            program.wait_until(part.ready, timeout=120)
        return self

    def stop(self, *parts: str) -> None:
        """Ask them to end, the last first, and wait; addresses and data stay."""
        for name, part in reversed(self._chosen(parts).items()):
            self._program(name).stop(timeout=part.slow_to_end)

    def kill(self, *parts: str) -> None:
        """kill -9."""
        for name in reversed(self._chosen(parts)):
            self._program(name).kill()

    def restart(self, *parts: str) -> None:
        """Stop and start them."""
        self.stop(*parts)
        self.start(*parts)

    def pause(self, *parts: str) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        for name in self._chosen(parts):
            self._program(name).pause()

    def resume(self, *parts: str) -> None:
        """Go on after pause()."""
        for name in self._chosen(parts):
            self._program(name).resume()

    def running(self, *parts: str) -> bool:
        """Whether they all are there."""
        return not self.missing(*parts)

    def missing(self, *parts: str) -> list[str]:
        """Those that do not run."""
        return [name for name in self._chosen(parts) if not self._program(name).running]

    def pid(self, part: str) -> int | None:
        """A part's process while it runs."""
        return self._program(part).pid

    def log(self, part: str) -> str:
        """The end of what a part wrote."""
        return self._program(part).tail(200)

    def _program(self, name: str) -> Program:
        if name not in self._programs:
            # Beside the server's folder: there the keeper of a temporary one finds what it has to end.
            self._programs[name] = Program(f"{self.folder.name}-{name}", self.folder.parent)
        return self._programs[name]

    def _chosen(self, names: tuple[str, ...]) -> dict[str, Part]:
        parts = self._parts()
        if unknown := set(names) - set(parts):
            raise EngineError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
        return {name: part for name, part in parts.items() if not names or name in names}
