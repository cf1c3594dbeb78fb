"""Messages to tasks that are there, many at once in one transaction, under the lock of their tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from a2a.types import a2a_pb2 as pb

from parley_runtime.store import (
    ENDED,
    MOST_PUSH_CONFIGS,
    Accepted,
    ContextMismatch,
    Limits,
    MessageIdReused,
    NewMessage,
    Overloaded,
    StoreError,
    TaskEnded,
    TooManyConfigs,
    UnknownTask,
)
from parley_runtime.stores.postgres import statements as sql

Outcome = Accepted | StoreError | None
"""None: to be tried again, as the same message came in at the same moment elsewhere."""


@dataclass(slots=True)
class _Queue:
    """The number of a task's last entry, and how many of its messages wait."""

    last: int
    behind: int


async def follow_ups(c: Any, messages: Sequence[NewMessage], limits: Limits) -> list[Outcome]:
    """Accept all that may be, those of a task in the order given."""
    ids = sorted({m.task_id for m in messages})
    outcomes: list[Outcome] = []
    rows: list[tuple[Any, ...]] = []
    async with c.transaction():
        heads = {row["id"]: row for row in await c.fetch(sql.LOCK, ids)}
        # Statements of their own: what begins after the lock sees all that was done before it.
        known = await find_messages(c, messages)
        queues = {
            row["task_id"]: _Queue(max(row["last"], 0), row["behind"])
            for row in await c.fetch(sql.NUMBERS, ids)
        }
        waiting = await c.fetchval(sql.WAITING) if limits.backlog else 0
        for n, m in enumerate(messages, 1):
            outcome = repeated(known[n], m) if n in known else _refusal(m, heads.get(m.task_id))
            if outcome is None:
                head, queue = heads[m.task_id], queues[m.task_id]
                # Tasks are what the depth counts; a task's own queue is not to be a way around the bound.
                if limits.backlog and queue.behind + waiting >= limits.backlog:
                    outcome = full(limits)
                elif not m.push or (outcome := await add_push(c, m)) is None:
                    queue.last, queue.behind = queue.last + 1, queue.behind + 1
                    outcome = _accepted(m, head, queue.last)
                    rows.append(_row(m, head, queue.last, limits))
            outcomes.append(outcome)
        if not rows:
            return outcomes
        added = await add_work(c, rows)
        await c.fetch(sql.SETTLE, sorted({row[0] for row in rows}))
    return [
        None if _fresh(outcome) and (m.owner, m.message_id) not in added else outcome
        for m, outcome in zip(messages, outcomes, strict=True)
    ]


async def find_messages(c: Any, messages: Sequence[NewMessage]) -> Mapping[int, Any]:
    """What is stored of those that were accepted before, by their place among `messages` (from 1)."""
    asked = [[m.owner for m in messages], [m.message_id for m in messages]]
    return {row["n"]: row for row in await c.fetch(sql.FIND_MESSAGES, *asked)}


async def add_work(c: Any, rows: Sequence[tuple[Any, ...]]) -> set[tuple[str, str]]:
    """Add entries (see ADD_WORK); the (owner, messageId) of those that were not there already."""
    added = await c.fetch(sql.ADD_WORK, *map(list, zip(*rows, strict=True)))
    return {(row["owner"], row["message_id"]) for row in added}


async def add_push(c: Any, m: NewMessage) -> StoreError | None:
    """Add a message's push configuration to its task; or why it cannot be."""
    config = pb.TaskPushNotificationConfig.FromString(m.push)
    others = await c.fetchval(sql.OTHER_CONFIGS, m.task_id, config.id)
    if others >= MOST_PUSH_CONFIGS:
        return TooManyConfigs(f"the task already has {others} push configurations; delete one first")
    await c.execute(sql.ADD_PUSH, m.task_id, config.id, m.owner, config.url, m.push)
    await c.execute(sql.SET_PUSH, m.task_id)
    return None


def repeated(row: Any, m: NewMessage) -> Outcome:
    """What a message is told that was accepted before, or another under its id."""
    if row["digest"] != m.digest:
        return MessageIdReused(
            f"messageId {m.message_id!r} was already used for another message; use a new one"
        )
    return Accepted(row["task_id"], row["context_id"], row["generation"], row["number"], True)


def full(limits: Limits) -> Overloaded:
    """What a message is told that finds the backlog full."""
    return Overloaded(
        f"the agent's backlog is full ({limits.backlog} messages wait); send the same message again later"
    )


def cost(m: NewMessage, limits: Limits) -> float:
    """How far a message moves its tenant back: the less, the more weight the tenant has."""
    return 1.0 / max(limits.weights.get(m.tenant, 1.0), 1e-6)


def _refusal(m: NewMessage, head: Any) -> StoreError | None:
    if head is None or head["owner"] != m.owner:
        return UnknownTask(f"there is no task {m.task_id!r}")
    if m.context_id and m.context_id != head["context_id"]:
        return ContextMismatch(f"task {m.task_id!r} belongs to another context than {m.context_id!r}")
    if head["state"] in ENDED:
        return TaskEnded(
            f"task {m.task_id!r} has ended and takes no more messages; start a new task in its context"
        )
    return None


def _fresh(outcome: Outcome) -> bool:
    return isinstance(outcome, Accepted) and not outcome.duplicate


def _accepted(m: NewMessage, head: Any, number: int) -> Accepted:
    return Accepted(m.task_id, head["context_id"], head["generation"], number, False, version=head["version"])


def _row(m: NewMessage, head: Any, number: int, limits: Limits) -> tuple[Any, ...]:
    identity = (m.task_id, number, "message", head["version"], m.owner, m.message_id, m.digest)
    share = (m.priority, m.tenant, cost(m, limits), m.request, m.traceparent, m.expires_in)
    return (*identity, head["generation"], *share)
