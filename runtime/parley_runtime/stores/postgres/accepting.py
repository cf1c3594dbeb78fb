"""Accepting messages, many at once: new tasks in one statement, follow-ups in one transaction under the lock of their tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parley_runtime.store import Accepted, Limits, NewMessage, Work
from parley_runtime.stores.postgres import statements as sql
from parley_runtime.stores.postgres.following import (
    Outcome,
    add_push,
    cost,
    find_messages,
    follow_ups,
    full,
    repeated,
)


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
        """Accept messages to tasks that are there, those of a task in order; None as for `new`."""
        return await follow_ups(c, [request.message for request in requests], self._limits())

    async def _new(self, c: Any, requests: Sequence[Request], limits: Limits) -> list[Outcome]:
        # With a quota, work is begun by `take` alone, which keeps the account.
        taking = next((r.take_as for r in requests if r.take_as), "") if limits.rate <= 0 else ""
        rows = [
            (*_row(r.message, limits), bool(taking and r.take_as and _in_time(r.message))) for r in requests
        ]
        named = any(r.message.context_id for r in requests)
        shown = any(r.message.first for r in requests)
        statement = sql.ACCEPT[named, shown]
        found = await c.fetch(statement, rows, taking, limits.backlog)
        made = {row["n"]: row for row in found}
        if len(made) < len(requests):
            others = await self._not_made(
                c, {n: r for n, r in enumerate(requests, 1) if n not in made}, limits
            )
        return [
            _accepted(made[n], request.message) if n in made else others[n]
            for n, request in enumerate(requests, 1)
        ]

    async def _not_made(
        self, c: Any, requests: Mapping[int, Request], limits: Limits
    ) -> Mapping[int, Outcome]:
        messages = [r.message for r in requests.values()]
        known = await find_messages(c, messages)
        is_full = limits.backlog and await c.fetchval(sql.WAITING) >= limits.backlog
        otherwise = full(limits) if is_full else None
        return {
            n: repeated(known[at], m) if at in known else otherwise
            for at, (n, m) in enumerate(zip(requests, messages, strict=True), 1)
        }


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


def _accepted(row: Any, m: NewMessage) -> Accepted:
    ids = (row["task_id"], row["context_id"])
    work = None
    if row["taken"]:
        content = ("message", row["at_version"], m.request, m.traceparent)
        work = Work(*ids, m.owner, 1, *content, 1, 1, row["now"], row["generation"] > 0, m.priority)  # type: ignore[arg-type]
    return Accepted(*ids, row["generation"], 1, False, work, row["now"], row["at_version"])


async def _first_push(c: Any, m: NewMessage) -> None:
    await add_push(c, m)
    if m.first is not None:
        await c.execute(sql.PUSH_FIRST, m.task_id, m.first.body, m.traceparent)
