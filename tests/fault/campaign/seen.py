"""What the clients of a campaign came to know: the checker's other half, beside the store itself."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELED", "REJECTED"})


@dataclass
class Seen:
    """What clients came to know, for the checker."""

    sent: dict[str, str] = field(default_factory=dict)
    """What each message said, by its id."""
    tasks: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The tasks that a message's answers named (one, or something is wrong)."""
    orders: dict[str, str] = field(default_factory=dict)
    """What each task was to do: the text of its first message."""
    pushed: set[str] = field(default_factory=set)
    """Tasks that were sent with a push configuration."""
    cancelled: set[str] = field(default_factory=set)
    """Tasks that somebody asked to cancel."""
    results: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """Tasks in a terminal state, as answered to clients, by task."""
    streams: list["Read"] = field(default_factory=list)
    looks: list["Look"] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    """(task, what): what a client itself saw to be wrong."""


@dataclass
class Read:
    """One stream as its client put it together over all its connections: (generation, event) in order."""

    who: str
    task: str = ""
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    state: str = ""
    """Of the task after what was read last, when that said one."""
    head: int = 0
    """Generation of the Task that a stream of a running task begins with; 0 when it begins with the log."""


@dataclass(frozen=True, slots=True)
class Look:
    """That a client saw a generation of a task, by a call asked and answered at these times."""

    task: str
    generation: int
    asked: float
    answered: float
