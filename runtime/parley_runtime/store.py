"""The store port: tasks, their logs, and the work on them. The store is the truth; everything else is speed.

Guarantees every backend gives:
- *Accept is atomic*: the message, its task and its work entry exist together or not at all, and the same
  `(owner, message_id)` is accepted once.
- *One writer a task*: `append`, `finish` and `record_step` carry the epoch of the lease they act under and
  change nothing when the task has a newer one.
- *The log has no gaps*: a task's events are numbered 1, 2, 3 … (its generation) and are never changed.
- *Committed means durable*: a call that returned survives the death of any process.
- A backend may answer calls out of order, except that appends to one task take effect in the order made.
"""

from asyncio import Future
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from a2a.types import a2a_pb2 as pb

from parley_core.errors import ParleyError
from parley_registry.client import RolloutVersion, VersionFigures

TERMINAL = frozenset(
    {pb.TASK_STATE_COMPLETED, pb.TASK_STATE_FAILED, pb.TASK_STATE_CANCELED, pb.TASK_STATE_REJECTED}
)
INTERRUPTED = frozenset({pb.TASK_STATE_INPUT_REQUIRED, pb.TASK_STATE_AUTH_REQUIRED})

MOST_PUSH_CONFIGS = 20
"""Push configurations that a task may have: each multiplies every event of it."""

WorkKind = Literal["message", "cancel"]

LOWEST, NORMAL, HIGHEST = 0, 3, 7
"""Priorities: a higher one always goes first; within one, tenants share by weight."""


_MOST = 10**9


@dataclass(frozen=True, slots=True)
class Limits:
    """What an agent may do, for all its replicas; kept in the store, changed while it runs. 0 means no limit."""

    concurrency: int = 0
    """Executions at once in one process; 0: what the process was started with."""
    rate: float = 0.0
    """Executions begun a second, over all replicas …"""
    burst: int = 1
    """… and how many at once after a pause."""
    backlog: int = 100_000
    """Entries that may wait; beyond it messages are refused with Overloaded."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Share of each tenant under backlog; 1 for who is not named."""

    def __post_init__(self) -> None:
        counts = (self.concurrency, self.rate, self.backlog, self.burst - 1)
        if not all(0 <= count <= _MOST for count in counts):
            raise ValueError(
                f"concurrency, rate and backlog are 0 (no limit) or more, burst is 1 or more; all at most {_MOST}"
            )
        if not all(1 / _MOST <= weight <= _MOST for weight in self.weights.values()):
            raise ValueError(f"a tenant's weight is more than 0, from 1/{_MOST} to {_MOST}")


class StoreError(ParleyError):
    """Base of the refusals below."""


class UnknownTask(StoreError):
    """No such task for this owner."""


class ContextMismatch(StoreError):
    """The message names a context that is not its task's."""


class TaskEnded(StoreError):
    """The task is in a terminal state and takes no more messages."""


class MessageIdReused(StoreError):
    """This owner already sent another message under the same messageId."""


class TooManyConfigs(StoreError):
    """The task has as many push notification configurations as it may."""


class Overloaded(StoreError):
    """The agent's backlog is full; the same message may be sent again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One change of a task, as readers see it.

    `generation` counts from 1 within the task. `body` is the ProtoJSON of an A2A StreamResponse (UTF-8),
    serialised once. `at` is seconds since the epoch by the store's clock. `state` is the task's state after
    the event (a TaskState, or MESSAGE for a plain Message answer, or ERROR for a protocol error).
    """

    generation: int
    body: bytes
    state: int
    at: float
    work: int
    """Number of the work entry that made it."""


MESSAGE = 100
"""`state` of an exchange that was answered by a plain Message: ended, and there is no Task to show."""
ERROR = 101
"""`state` of an exchange that the executor refused with a protocol error before there was a Task."""
HIDDEN_ENDS = frozenset({MESSAGE, ERROR})
ENDED = TERMINAL | HIDDEN_ENDS


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to accept. Ids are chosen by the caller; `task_id` is the new task's unless `follow_up`."""

    owner: str
    message_id: str
    digest: bytes
    task_id: str
    follow_up: bool
    context_id: str
    """The context the client named, or "" if it named none."""
    new_context_id: str
    """The context to use when the client named none."""
    version: str
    request: bytes
    """The SendMessageRequest with ids filled in, and what the executor must know of the call (see `dispatch`)."""
    traceparent: str
    first: "NewEvent | None" = None
    """For a new task that is shown at once (its caller does not wait for the executor): its first event …"""
    first_snapshot: bytes = b""
    """… and the Task that it makes."""
    push: bytes = b""
    """A serialised TaskPushNotificationConfig to add, or nothing."""
    tenant: str = ""
    """Whose share of a backlog it counts to."""
    priority: int = NORMAL
    expires_in: float | None = None
    """Seconds from acceptance after which it is not to be run any more."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a message. `generation` is the task's before any effect of this message."""

    task_id: str
    context_id: str
    generation: int
    number: int
    """Of the message's work entry."""
    duplicate: bool
    work: "Work | None" = None
    """The work, already leased to the accepting process, when it asked for that and the task was free."""
    at: float = 0.0
    """Of a new task: when it was accepted, by the store's clock."""
    version: str = ""
    """The version that its context is pinned to (unknown of a duplicate)."""


@dataclass(frozen=True, slots=True)
class Work:
    """A leased entry of work. `epoch` fences all writes; `attempt` counts from 1."""

    task_id: str
    context_id: str
    owner: str
    number: int
    kind: WorkKind
    version: str
    request: bytes
    traceparent: str
    epoch: int
    attempt: int
    accepted_at: float
    shown: bool = True
    """False when the task is known to have no event yet (so nothing need be read before it runs)."""
    priority: int = NORMAL
    expired: bool = False
    """Its deadline passed while it waited: it is to be failed and not run."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a worker got. `wait` > 0: the quota is used up, and there may be more in so many seconds."""

    work: Sequence[Work] = ()
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Parked:
    """What became of a work entry that was ended without its task. `done` is False when the epoch is stale;
    `waiting`: the task has more work, which can be taken now."""

    done: bool
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. `message` is the serialised user Message that enters the history with it."""

    body: bytes
    state: int
    status_at: float | None = None
    """Seconds of the new status timestamp when the event sets one; ListTasks orders by it."""
    message: bytes = b""


@dataclass(frozen=True, slots=True)
class Append:
    """Events for one task under one lease, in order. `first` is the generation of the first of them."""

    task_id: str
    epoch: int
    number: int
    first: int
    events: Sequence[NewEvent]
    snapshot: bytes | None = None
    """The serialised Task after the last event, when it is time to keep one."""
    traceparent: str = ""
    """Of the execution; it travels on with the pushes."""
    ends: bool = False
    """The last event ends the task: the work entry is done and later work of the task is dropped."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """Numbers of the task to keep with the events (see `measures`); a name that it had before has the new value."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What was logged, and whether pushes became due with it."""

    events: Sequence[LoggedEvent] = ()
    pushes: bool = False


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task as the store holds it: `snapshot` is the Task at `snapshot_generation`, `tail` what came after."""

    task_id: str
    context_id: str
    owner: str
    state: int
    generation: int
    visible: bool
    busy: bool
    """Whether work on it is waiting or running."""
    version: str
    snapshot: bytes
    snapshot_generation: int
    tail: Sequence[tuple[bytes, bytes]] = ()
    """(body, message) of each event after the snapshot."""
    refusal: str = ""
    """Why the last request to cancel was refused, if it was."""
    log_from: int = 1
    """The first generation that the log still has (compaction leaves the snapshot and takes the events)."""


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of ListTasks: tasks by status time, newest first; `next` is the cursor of the following page."""

    tasks: Sequence[StoredTask]
    next: tuple[float, str] | None
    total: int


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What ListTasks asks for; unset fields do not narrow."""

    owner: str
    context_id: str = ""
    state: int | None = None
    status_after: float | None = None
    cursor: tuple[float, str] | None = None
    size: int = 50


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A durable step of an execution: its JSON (or raw) result and its times in seconds."""

    name: str
    result: bytes
    started: float
    ended: float


@dataclass(frozen=True, slots=True)
class WorkRecord:
    """The history of one work entry, for `task show --trace`. Times are seconds; None: not yet."""

    number: int
    kind: str
    version: str
    worker: str
    attempt: int
    accepted: float
    started: float | None
    ended: float | None
    traceparent: str


@dataclass(frozen=True, slots=True)
class TaskTrace:
    """All that the store knows of how a task went."""

    task: StoredTask
    work: Sequence[WorkRecord]
    steps: Sequence[StepRecord]
    events: Sequence[LoggedEvent]
    takeovers: Sequence[tuple[int, str, float]] = field(default=())
    """(epoch, worker that lost it, when) of each lease that had to be taken over."""


@dataclass(frozen=True, slots=True)
class QueueState:
    """How much work waits and runs, and the age in seconds of the oldest that nobody has taken."""

    waiting: int
    running: int
    oldest: float
    by_priority: Mapping[int, int] = field(default_factory=dict)
    """How much of what waits has which priority (HIGHEST + 1: requests to cancel)."""
    quota: float | None = None
    """Executions that the quota allows now; None without one."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A version of the agent whose tasks a store keeps."""

    agent: str
    version: str
    executor: str
    """What its replicas have in common, and another agent of the same name has not."""
    live: bool = False
    """Whether workers of it are alive."""


class Store(Protocol):
    """See the module's text for the guarantees. All methods may raise parley_core's Unavailable."""

    async def open(self) -> None:
        """Bring the schema forward and start. Raises ConfigurationError when the address cannot be used."""

    async def close(self) -> None:
        """Finish what is pending and let go of the database."""

    async def ping(self) -> None:
        """Return when the store answers a read and (tried now and then) takes a write."""

    async def move_in(self, me: Resident) -> Sequence[Resident]:
        """Who was there before; and from now on `me` is, unless another agent is, or this version by another executor with
        workers that live."""

    # -- accepting
    def accept(self, message: NewMessage, *, take_as: str = "") -> "Future[Accepted]":
        """Accept a message in one transaction; with `take_as`, also lease its work to that worker if it is free.
        (A future, so that leased work is started even when whoever asked has gone.)

        Raises UnknownTask, ContextMismatch, TaskEnded, MessageIdReused, TooManyConfigs, Overloaded.
        """

    async def request_cancel(self, task_id: str, owner: str, request: bytes, traceparent: str) -> bool:
        """Put a request to cancel before all other work of the task; False when one is already pending.

        Raises UnknownTask, TaskEnded.
        """

    # -- working
    async def register_worker(self, worker: str, version: str, lease_seconds: float) -> None:
        """Announce a worker; its leases are renewed in the background until `retire_worker`, even while the
        event loop is blocked."""

    async def retire_worker(self, worker: str) -> int:
        """Withdraw a worker; whatever it still holds is free at once, without counting as an attempt. How many."""

    async def take(self, worker: str, version: str, limit: int) -> Taken:
        """Lease up to `limit` free entries, one a task, within the agent's quota: requests to cancel first, then by
        priority, then by the tenants' shares, then oldest first. (Cancels and expired entries use no quota.)

        Entries of another version are taken only when no live worker hosts that one: without a rollout table by any
        worker; with one by workers of the current version, and only of versions that are not in it, or Inactive."""

    async def take_expired(self, worker: str, limit: int) -> Sequence[Work]:
        """Lease entries whose deadline passed while they waited, of any version; each has `expired` set."""

    async def take_cancels(self, worker: str) -> Sequence[Work]:
        """The pending cancel requests of tasks that this worker is running, leased under the running epoch."""

    async def held(self, worker: str) -> Mapping[str, int]:
        """The tasks that are leased to this worker, each with the epoch of its lease."""

    async def in_use(self, version: str) -> bool:
        """Whether a live worker hosts a version, or work of it waits or runs."""

    def append(self, append: Append) -> "Future[Appended]":
        """Append events. The future gives them as logged; none, and nothing was written, when the epoch is stale
        or the task has ended. Appends may be made without awaiting earlier ones."""

    async def finish(self, task_id: str, epoch: int, number: int, *, refusal: str = "") -> Parked:
        """End a work entry without ending the task (it is parked)."""

    async def release(self, task_id: str, epoch: int, number: int, *, counts: bool = True) -> None:
        """Give a work entry back, to be taken again: as a further attempt, or not `counts`, as if it had not been
        taken. Nothing happens under a stale epoch."""

    async def record_step(self, task_id: str, epoch: int, number: int, step: StepRecord) -> bool:
        """Keep a step's result for this work entry; False when the epoch is stale."""

    async def steps(self, task_id: str, number: int) -> Sequence[StepRecord]:
        """The finished steps of a work entry, in the order they finished."""

    # -- reading
    async def load(self, task_id: str, owner: str | None = None) -> StoredTask | None:
        """The task with its snapshot and tail; None when there is none, or it is another owner's."""

    async def events(self, task_id: str, after: int, limit: int = 1000) -> Sequence[LoggedEvent]:
        """The log of a task after generation `after`, in order."""

    async def list_tasks(self, wanted: TaskFilter) -> TaskPage:
        """Visible tasks of an owner. Tails are included."""

    async def trace(self, task_id: str, owner: str) -> TaskTrace | None:
        """How the task went; None as for `load`."""

    async def sweep(self) -> int:
        """Free the work of workers whose lease ran out; how many entries were freed."""

    async def retain(self, events: float, tasks: float) -> int:
        """Let go of a bounded number of what is no longer needed; how much (0: nothing is left to do). Of tasks that
        ended more than `events` seconds ago the log, steps and requests go, and the snapshot stays; what ended more
        than `tasks` seconds ago goes wholly, with its messageIds, and its context's pin with the last task in it."""

    async def limits(self) -> Limits:
        """The agent's limits as they are now (at most a second old)."""

    async def set_limits(self, limits: Limits) -> None:
        """Change the agent's limits, in every process within a second or so."""

    async def queue_state(self) -> QueueState:
        """How much work waits and runs."""

    # -- versions
    async def rollout(self) -> Sequence[RolloutVersion]:
        """The agent's rollout table as it was last told to the store; empty without one."""

    async def set_rollout(self, table: Sequence[RolloutVersion]) -> None:
        """Keep the agent's rollout table: `take` goes by it, and hosts that start while the registry is away."""

    async def move(self, version: str, to: str) -> int:
        """Give all that is open of a version to another: what waits, and what runs too, whose workers lose it at once as by
        a drain (it does not count as an attempt); and contexts that began on it go on there. How many tasks were open."""

    async def figures(self, since: float) -> Sequence[VersionFigures]:
        """How each version does that has open tasks, live workers, or tasks that ended in the last `since` seconds; by
        name. The figures are of one moment or nearly so."""

    async def unhosted(self) -> Mapping[str, int]:
        """How many entries wait of each version that no live worker hosts."""
