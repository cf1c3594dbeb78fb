"""Accepting messages: new tasks many at once in one statement, follow-ups under the lock of their tasks."""

from collections.abc import Callable, Sequence
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
    Work,
)
from parley_runtime.stores.postgres import statements as sql

Outcome = Accepted | StoreError | None


@dataclass(frozen=True, slots=True)
class Request:
    """A message to accept, and the worker that would take its work at once ("" for none)."""

    message: NewMessage
    take_as: str

    @property
    def key(self) -> tuple[str, str]:
        """Two of one key are one message sent twice."""
        return self.message.owner, self.message.message_id


class Accepting:
    """What the two accepting lanes do. `limits` gives the agent's limits as they are now.

    An earlier try that may have been committed (`unsure`) changes nothing: what was accepted before is found by its
    messageId; work that it leased to a worker which never heard is found by the store's upkeep.
    """

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits

    async def new(self, c: Any, requests: Sequence[Request], unsure: bool) -> Sequence[Outcome]:
        """Accept messages that begin tasks; None for one that came in at the same moment elsewhere."""
        limits = self._limits()
        if not any(r.message.push for r in requests):
            return await self._new(c, requests, limits)
        async with c.transaction():
            outcomes = await self._new(c, requests, limits)
            for request, outcome in zip(requests, outcomes, strict=True):
                if request.message.push and isinstance(outcome, Accepted) and not outcome.duplicate:
                    await _first_push(c, request.message)
        return outcomes

    async def follow_ups(self, c: Any, requests: Sequence[Request], unsure: bool) -> Sequence[Outcome]:
        """Accept messages to tasks that are there, each under its task's lock; None as for `new`."""
        limits = self._limits()
        return [await self._follow_up(c, request.message, limits) for request in requests]

    async def _new(self, c: Any, requests: Sequence[Request], limits: Limits) -> list[Outcome]:
        # With a quota, work is begun by `take` alone, which keeps the account.
        taking = next((r.take_as for r in requests if r.take_as), "") if limits.rate <= 0 else ""
        rows = [
            (*_row(r.message, limits), bool(taking and r.take_as and _in_time(r.message))) for r in requests
        ]
        named = any(r.message.context_id for r in requests)
        shown = any(r.message.first for r in requests)
        statement = sql.ACCEPT[named, shown]
        found = await c.fetch(statement, *map(list, zip(*rows, strict=True)), taking, limits.backlog)
        made = {row["n"]: row for row in found}
        return [
            _accepted(made[n], request.message) if n in made else await _not_made(c, request.message, limits)
            for n, request in enumerate(requests, 1)
        ]

    async def _follow_up(self, c: Any, m: NewMessage, limits: Limits) -> Outcome:
        async with c.transaction():
            head = await c.fetchrow(sql.LOCK, [m.task_id])
            known = await c.fetchrow(sql.FIND_MESSAGE, m.owner, m.message_id)
            if known is not None:
                return _repeated(known, m)
            if head is None or head["owner"] != m.owner:
                return UnknownTask(f"there is no task {m.task_id!r}")
            if m.context_id and m.context_id != head["context_id"]:
                return ContextMismatch(f"task {m.task_id!r} belongs to another context than {m.context_id!r}")
            if head["state"] in ENDED:
                return TaskEnded(
                    f"task {m.task_id!r} has ended and takes no more messages; start a new task in its context"
                )
            _, last, _, behind = await c.fetchrow(sql.NUMBERS, m.task_id)
            # Tasks are what the depth counts; a task's own queue is not to be a way around the bound.
            if limits.backlog and behind + await c.fetchval(sql.WAITING) >= limits.backlog:
                return full(limits)
            if m.push and (refused := await _add_push(c, m)):
                return refused
            number = max(last, 0) + 1
            row = (
                m.task_id,
                number,
                "message",
                head["version"],
                m.owner,
                m.message_id,
                m.digest,
                head["generation"],
            )
            share = (m.priority, m.tenant, cost(m, limits), m.request, m.traceparent, m.expires_in)
            if await c.fetchval(sql.ADD_WORK, *row, *share) is None:
                return None  # the same message, at the same moment, for another task
            await c.fetch(sql.SETTLE, [m.task_id])
            version = head["version"]
            return Accepted(m.task_id, head["context_id"], head["generation"], number, False, version=version)


async def _not_made(c: Any, m: NewMessage, limits: Limits) -> Outcome:
    known = await c.fetchrow(sql.FIND_MESSAGE, m.owner, m.message_id)
    if known is not None:
        return _repeated(known, m)
    if limits.backlog and await c.fetchval(sql.WAITING) >= limits.backlog:
        return full(limits)
    return None


def cost(m: NewMessage, limits: Limits) -> float:
    """How far a message moves its tenant back: the less, the more weight the tenant has."""
    return 1.0 / max(limits.weights.get(m.tenant, 1.0), 1e-6)


def full(limits: Limits) -> Overloaded:
    """What a message is told that finds the backlog full."""
    return Overloaded(
        f"the agent's backlog is full ({limits.backlog} messages wait); send the same message again later"
    )


def _in_time(m: NewMessage) -> bool:
    return m.expires_in is None or m.expires_in > 0


def _row(m: NewMessage, limits: Limits) -> tuple[Any, ...]:
    first = m.first
    shown = (
        (first.state, first.status_at, first.body, first.message, m.first_snapshot) if first else (None,) * 5
    )
    return (
        m.task_id,
        m.owner,
        m.message_id,
        m.digest,
        m.context_id,
        m.context_id or m.new_context_id,
        m.version,
        m.request,
        m.traceparent,
        m.tenant,
        m.priority,
        cost(m, limits),
        m.expires_in,
        *shown,
    )


def _repeated(row: Any, m: NewMessage) -> Outcome:
    if row["digest"] != m.digest:
        return MessageIdReused(
            f"messageId {m.message_id!r} was already used for another message; use a new one"
        )
    return Accepted(row["task_id"], row["context_id"], row["generation"], row["number"], True)


def _accepted(row: Any, m: NewMessage) -> Accepted:
    ids = (row["task_id"], row["context_id"])
    work = None
    if row["taken"]:
        content = ("message", row["at_version"], m.request, m.traceparent)
        work = Work(*ids, m.owner, 1, *content, 1, 1, row["now"], row["generation"] > 0, m.priority)  # type: ignore[arg-type]
    return Accepted(*ids, row["generation"], 1, False, work, row["now"], row["at_version"])


async def _first_push(c: Any, m: NewMessage) -> None:
    await _add_push(c, m)
    if m.first is not None:
        await c.execute(sql.PUSH_FIRST, m.task_id, m.first.body, m.traceparent)


async def _add_push(c: Any, m: NewMessage) -> StoreError | None:
    config = pb.TaskPushNotificationConfig.FromString(m.push)
    others = await c.fetchval(sql.OTHER_CONFIGS, m.task_id, config.id)
    if others >= MOST_PUSH_CONFIGS:
        return TooManyConfigs(f"the task already has {others} push configurations; delete one first")
    await c.execute(sql.ADD_PUSH, m.task_id, config.id, m.owner, config.url, m.push)
    await c.execute(sql.SET_PUSH, m.task_id)
    return None
