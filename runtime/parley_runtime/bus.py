"""The bus port: wake-ups for readers of task logs. It may lose, repeat, reorder or coalesce; the store makes up for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from a2a.types import a2a_pb2 as pb

from parley_runtime.store import LoggedEvent


@dataclass(frozen=True, slots=True)
class Wake:
    """What a reader hears. `events` may be empty ("look in the store"); `task`, when given, is the Task after the
    last of them and must not be changed."""

    events: Sequence[LoggedEvent] = ()
    task: pb.Task | None = None


Take = Callable[[Wake], float]
"""Is offered a wake-up as it comes; returns 0 to leave it, or else after how many more seconds there is silence."""


class Subscription(Protocol):
    """One reader's ear. Holds a bounded number of events; beyond it only "look in the store"."""

    async def next(self, timeout: float, take: Take | None = None) -> Wake | None:
        """What was heard since the last call, or None after `timeout` seconds of silence. What `take` takes of it while
        this waits is not given out."""

    def close(self) -> None:
        """Stop listening."""


class Bus(Protocol):
    """What readers in any process hear of what was committed in any other.

    A context is a session: a backend may carry its tasks' events together. A subscriber that cannot hear of other
    processes yet is woken with "look in the store" as soon as it can.
    """

    async def open(self) -> None:
        """Start hearing others. Raises ConfigurationError when the address cannot be used."""

    async def close(self) -> None:
        """Stop, and let go of connections."""

    def publish(self, task_id: str, context_id: str, wake: Wake) -> None:
        """Tell this process's readers of a task at once, and others' soon, what was committed."""

    def subscribe(self, task_id: str, context_id: str) -> Subscription:
        """Be woken when the task's log has grown or its work is done."""

    def status(self) -> str:
        """ "" while all is well; else what is slower now, and why, in words for an operator."""
