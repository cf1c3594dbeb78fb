"""The outbox on the SQLite store's file, through the store's own writing and reading."""

import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from a2a.types import a2a_pb2 as pb

from parley_runtime.push import statements as sql
from parley_runtime.push.outbox import Delivery, Failure, Gate, OutboxState
from parley_runtime.push.plan import FIRST_PAGE, LAST_PAGE, PARKED, Due, Plan, plan
from parley_runtime.store import UnknownTask

T = TypeVar("T")

_FORGOTTEN_AT_ONCE = 1000


class Connected(Protocol):
    """What the outbox needs of its store: functions of a connection, run in a transaction or for reading."""

    def write(self, work: Callable[[sqlite3.Connection], T]) -> Awaitable[T]: ...

    def read(self, work: Callable[[sqlite3.Connection], T]) -> Awaitable[T]: ...


class SqlOutbox:
    """See `parley_runtime.push.outbox.Outbox` for what it promises. What was delivered is deleted."""

    def __init__(self, store: Connected) -> None:
        self._store = store

    # -- sending

    async def lease(self, sender: str, limit: int, seconds: float, gate: Gate) -> Sequence[Delivery]:
        """See Outbox.lease. Looks at a page of what is due, at a larger one while it is full of receivers that
        are busy, and puts those off when even the largest is; so many for one receiver hide nobody else's."""
        size = FIRST_PAGE
        while True:
            now = time.time()
            rows = await self._due(now, size)
            full = len(rows) == size
            made = plan(rows, limit, gate, crowded=full and size == LAST_PAGE)
            taken = await self._carry_out(made, sender, now, now + seconds, gate)
            if taken or not full:
                return taken
            size = min(size * 4, LAST_PAGE)

    async def delivered(self, delivery: Delivery, sender: str, then: float = 0.0) -> Delivery | None:
        """See Outbox.delivered."""
        now = time.time()

        def work(c: sqlite3.Connection) -> Delivery | None:
            if c.execute(sql.DELIVERED, _mine(delivery, sender)).rowcount == 0:
                return None
            following = _release_next(c, delivery)
            if following is None or not then:
                return None
            return _take(c, following, sender, now, now + then)

        return await self._store.write(work)

    async def retry(self, delivery: Delivery, sender: str, pause: float, reason: str) -> None:
        """See Outbox.retry."""
        values = {**_mine(delivery, sender), "at": time.time() + pause, "reason": reason}
        await self._store.write(lambda c: c.execute(sql.RETRY, values).rowcount)

    async def release(self, delivery: Delivery, sender: str) -> None:
        """See Outbox.release."""
        await self._store.write(lambda c: c.execute(sql.RELEASE, _mine(delivery, sender)).rowcount)

    async def give_up(self, delivery: Delivery, sender: str, reason: str, older: float = math.inf) -> None:
        """See Outbox.give_up."""
        values = {**_mine(delivery, sender), "reason": reason}
        before = time.time() - older

        def work(c: sqlite3.Connection) -> None:
            if c.execute(sql.GIVE_UP, values).rowcount:
                c.execute(sql.GIVE_UP_OLD, {**_lane(delivery), "reason": reason, "before": before})
                _release_next(c, delivery)

        await self._store.write(work)

    async def stop(self, delivery: Delivery, sender: str, reason: str) -> None:
        """See Outbox.stop. A configuration that is to be left alone has no URL in its row."""
        values = {**_mine(delivery, sender), "reason": reason}

        def work(c: sqlite3.Connection) -> None:
            if c.execute(sql.GIVE_UP, values).rowcount:
                c.execute(sql.SILENCE, _lane(delivery))
                c.execute(sql.GIVE_UP_OLD, {**_lane(delivery), "reason": reason, "before": math.inf})

        await self._store.write(work)

    async def _due(self, now: float, size: int) -> Sequence[Due]:
        rows = await self._store.read(lambda c: c.execute(sql.DUE, {"now": now, "limit": size}).fetchall())
        return [Due(*row) for row in rows]

    async def _carry_out(
        self, made: Plan, sender: str, now: float, until: float, gate: Gate
    ) -> Sequence[Delivery]:
        def work(c: sqlite3.Connection) -> Sequence[Delivery]:
            c.executemany(sql.PARK, [{"id": i, "until": now + PARKED, "now": now} for i in made.park])
            c.executemany(
                sql.PUT_OFF, [{"id": i, "until": now + wait, "now": now} for i, wait in made.put_off]
            )
            c.executemany(sql.DROP_UNWANTED, [{"id": i} for i in made.drop])
            found = [_take(c, row_id, sender, now, until) for row_id, _ in made.take]
            return [delivery for delivery in found if delivery is not None]

        if not made:
            return ()
        taken: Sequence[Delivery] = ()
        try:
            taken = await self._store.write(work)
        finally:
            made.leave(gate, [delivery.id for delivery in taken])
        return taken

    # -- configurations

    async def set(self, owner: str, config: pb.TaskPushNotificationConfig, limit: int) -> bool:
        """See Outbox.set."""
        row = (config.task_id, config.id, owner, config.url, config.SerializeToString(), time.time())

        def work(c: sqlite3.Connection) -> bool:
            if c.execute(sql.TASK_OF_OWNER, (config.task_id, owner)).fetchone() is None:
                raise UnknownTask(f"there is no task {config.task_id!r}")
            if c.execute(sql.OTHERS, (config.task_id, config.id)).fetchone()[0] >= limit:
                return False
            c.execute(sql.SET, row)
            c.execute(sql.SET_PUSH, (config.task_id,))
            return True

        return await self._store.write(work)

    async def get(self, owner: str, task_id: str, config_id: str) -> pb.TaskPushNotificationConfig | None:
        """See Outbox.get."""
        row = await self._store.read(lambda c: c.execute(sql.GET, (task_id, config_id, owner)).fetchone())
        return None if row is None else pb.TaskPushNotificationConfig.FromString(row[0])

    async def list(self, owner: str, task_id: str) -> Sequence[pb.TaskPushNotificationConfig]:
        """See Outbox.list."""
        rows = await self._store.read(lambda c: c.execute(sql.LIST, (task_id, owner)).fetchall())
        return [pb.TaskPushNotificationConfig.FromString(row[0]) for row in rows]

    async def delete(self, owner: str, task_id: str, config_id: str) -> None:
        """See Outbox.delete."""

        def work(c: sqlite3.Connection) -> None:
            if c.execute(sql.DELETE, (task_id, config_id, owner)).rowcount:
                c.execute(sql.DROP_PENDING, (task_id, config_id))

        await self._store.write(work)

    # -- looking

    async def failures(self, task_id: str) -> Sequence[Failure]:
        """See Outbox.failures."""
        rows = await self._store.read(lambda c: c.execute(sql.FAILURES, (task_id,)).fetchall())
        return [Failure(a, b, c, d, bool(ended)) for a, b, c, d, ended in reversed(rows)]

    async def state(self) -> OutboxState:
        """See Outbox.state."""

        def work(c: sqlite3.Connection) -> tuple[int, float | None, int]:
            return (*c.execute(sql.PENDING).fetchone(), c.execute(sql.GIVEN_UP).fetchone()[0])

        pending, oldest, given_up = await self._store.read(work)
        return OutboxState(pending, time.time() - oldest if oldest else 0.0, given_up)

    async def forget(self, older: float) -> int:
        """See Outbox.forget."""
        values = (time.time() - older, _FORGOTTEN_AT_ONCE)
        rows = await self._store.read(lambda c: c.execute(sql.FORGET, values).fetchall())
        if rows:
            await self._store.write(lambda c: c.executemany(sql.DROP, rows).rowcount)
        return len(rows)

    def attend(self, wake: Callable[[], None]) -> None:
        """See Outbox.attend. The few processes on a file look into it often enough."""

    def overflow(self) -> None:
        """See Outbox.overflow."""


def _take(c: sqlite3.Connection, row_id: int, sender: str, now: float, until: float) -> Delivery | None:
    row = c.execute(sql.TAKE, {"id": row_id, "sender": sender, "now": now, "until": until}).fetchone()
    if row is None:
        return None
    if row[-1] is None:
        c.execute(sql.DROP_UNWANTED, {"id": row_id})
        return None
    *values, created, attempts, lease_until, config = row
    parsed = pb.TaskPushNotificationConfig.FromString(config)
    return Delivery(*values, now - created, attempts, lease_until, parsed)  # type: ignore[call-arg]


def _release_next(c: sqlite3.Connection, delivery: Delivery) -> int | None:
    row = c.execute(sql.NEXT, _lane(delivery)).fetchone()
    return None if row is None else row[0]


def _mine(delivery: Delivery, sender: str) -> dict[str, Any]:
    return {"id": delivery.id, "sender": sender, "lease_until": delivery.lease_until}


def _lane(delivery: Delivery) -> dict[str, Any]:
    return {"task_id": delivery.task_id, "config_id": delivery.config_id}
