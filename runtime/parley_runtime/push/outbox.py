"""The outbox port: notifications that are still to be sent, and where to. All its times are durations, by the store's
clock: clocks of processes that differ do no harm.

The store writes a notification for each configuration of a task in the transaction that appends the event, so there is
never an event without its notifications. What every backend gives:
- *In order*: of one task and configuration only the first undelivered notification is ever leased; a later one
  never before it is delivered or given up.
- *At least once*: a lease that is not settled runs out, and its notification is leased again.
- *Nothing after deletion*: deleting a configuration drops what is pending for it; only what is on the wire at that
  very moment still arrives.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from a2a.types import a2a_pb2 as pb


class Gate(Protocol):
    """Says whether a notification may go to a URL now, so that one receiver does not take all the room."""

    def enter(self, url: str) -> float:
        """0: yes, and a place is taken; more: not for so many seconds; infinity: not while those under way to its
        host are, which is not for long."""

    def leave(self, url: str) -> None:
        """Give back a place."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A leased notification. `body` is the ProtoJSON of a StreamResponse; `attempts` counts this one too.

    `age` is seconds from its event to its lease; `lease_until` is by the store's clock, and tells this lease from later
    ones. `config` holds secrets and is in no representation.
    """

    id: int
    task_id: str
    config_id: str
    generation: int
    body: bytes = field(repr=False)
    traceparent: str
    age: float
    attempts: int
    lease_until: float
    config: pb.TaskPushNotificationConfig = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """A notification that did not arrive: why the last attempt failed, and whether there will be others."""

    config_id: str
    generation: int
    attempts: int
    reason: str
    given_up: bool


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How many notifications wait, the age in seconds of the oldest, and how many were given up and are still kept.
    A backend may count up to a hundred thousand and no further."""

    pending: int
    oldest: float
    given_up: int


class Outbox(Protocol):
    """See the module's text for the guarantees. All methods may raise parley_core's Unavailable."""

    async def lease(self, sender: str, limit: int, seconds: float, gate: Gate) -> Sequence[Delivery]:
        """Up to `limit` notifications that are due and that the gate lets through, oldest first, leased to
        `sender` for `seconds`. Each that is returned holds a place of the gate."""

    async def delivered(self, delivery: Delivery, sender: str, then: float = 0.0) -> Delivery | None:
        """Take a notification off the outbox. With `then`, lease the next of the same task and configuration
        for that many seconds and return it, if there is one."""

    async def retry(self, delivery: Delivery, sender: str, pause: float, reason: str) -> None:
        """Put a notification back for `pause` seconds; it still holds back the later ones."""

    async def release(self, delivery: Delivery, sender: str) -> None:
        """Put a notification back as if it had not been leased."""

    async def give_up(self, delivery: Delivery, sender: str, reason: str, older: float = math.inf) -> None:
        """Send a notification no more, nor those of its task and configuration that are `older` than so many seconds."""

    async def stop(self, delivery: Delivery, sender: str, reason: str) -> None:
        """Send nothing more to this configuration, which its owner still sees, until it is set again."""

    async def set(self, owner: str, config: pb.TaskPushNotificationConfig, limit: int) -> bool:
        """Keep a configuration of an existing task, in place of the one of that id; False when the task has
        `limit` others. Raises UnknownTask when the owner has no such task."""

    async def get(self, owner: str, task_id: str, config_id: str) -> pb.TaskPushNotificationConfig | None:
        """The configuration, as it was set; None when this owner has none of that id."""

    async def list(self, owner: str, task_id: str) -> Sequence[pb.TaskPushNotificationConfig]:
        """All configurations of a task, oldest first."""

    async def delete(self, owner: str, task_id: str, config_id: str) -> None:
        """Forget a configuration and what is pending for it; nothing happens when there is none."""

    async def failures(self, task_id: str) -> Sequence[Failure]:
        """What of a task did not arrive, in order; at most the last 100."""

    async def state(self) -> OutboxState:
        """How full the outbox is."""

    async def forget(self, older: float) -> int:
        """Drop the records of notifications that were given up and are older than so many seconds; how many (a bounded
        number at a time)."""

    def attend(self, wake: Callable[[], None]) -> None:
        """Call `wake` on the event loop when senders of other processes have more than they can take."""

    def overflow(self) -> None:
        """Say to other processes' senders that there is more than this process can take."""
