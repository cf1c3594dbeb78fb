"""The bus port: wake-ups for readers and workers. It may lose, repeat, reorder or coalesce; the store makes up for it."""

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


class Subscription(Protocol):
    """One reader's ear. Holds a bounded number of events; beyond it only "look in the store"."""

    async def next(self, timeout: float) -> Wake | None:
        """What was heard since the last call, or None after `timeout` seconds of silence."""

    def close(self) -> None:
        """Stop listening."""


class Bus(Protocol):
    """What a process hears of others through it, and tells its own."""

    def publish(self, task_id: str, wake: Wake) -> None:
        """Tell this process's readers of a task what was committed (others hear by the backend's own means)."""

    def subscribe(self, task_id: str) -> Subscription:
        """Be woken when the task's log has grown or its work is done."""

    def on_work(self, callback: Callable[[], None] | None) -> None:
        """Call back, on the event loop, when there may be work to take or to cancel."""

    def work_added(self) -> None:
        """Tell this process's worker that there is work."""
