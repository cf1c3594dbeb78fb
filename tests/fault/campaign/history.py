"""What happened in a campaign, in order, with times: the evidence for the checker and for whoever reads a failure."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened. `at` is seconds since the campaign began; `task` is "" when it is of no task."""

    at: float
    who: str
    what: str
    task: str
    more: dict[str, Any]

    def __str__(self) -> str:
        more = " ".join(f"{name}={value}" for name, value in self.more.items())
        return f"{self.at:8.3f} {self.who:<12} {self.what:<14} {self.task[:8]:<8} {more}"


@dataclass
class History:
    """All records of one campaign, also written to a file as they come."""

    path: Path
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._file = self.path.open("ab", buffering=0)

    @property
    def now(self) -> float:
        """Seconds since the campaign began."""
        return time.monotonic() - self._began

    def restart(self) -> None:
        """Begin to count the time now."""
        self._began = time.monotonic()

    def note(self, who: str, what: str, task: str = "", **more: Any) -> None:
        """Record that something happened now."""
        record = Record(self.now, who, what, task, more)
        self.records.append(record)
        self._file.write(orjson.dumps([round(record.at, 4), who, what, task, more], default=str) + b"\n")

    def of(self, tasks: Iterable[str]) -> str:
        """The faults, and what happened to these tasks, as text."""
        wanted = set(tasks)
        return "\n".join(
            str(record)
            for record in self.records
            if record.task in wanted or record.who in ("nemesis", "campaign")
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
