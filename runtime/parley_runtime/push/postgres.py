"""The outbox on the PostgreSQL store's schema, for any number of senders in any number of processes."""

import math
from collections.abc import Callable, Hashable, Sequence

from a2a.types import a2a_pb2 as pb

from parley_runtime.push import statements_postgres as sql
from parley_runtime.push.outbox import Delivery, Failure, Gate, OutboxState
from parley_runtime.push.plan import FIRST_PAGE, LAST_PAGE
from parley_runtime.push.settling import Lease, Settle, Step, Stepped, carry_out
from parley_runtime.store import UnknownTask
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres.lane import Lane
from parley_runtime.stores.postgres.listener import Listener, Notifier

_PATIENCE = 10.0
"""Seconds for which a database that is away is waited for; less than a lease, which runs out meanwhile."""
_FORGOTTEN_AT_ONCE = 5000
_COUNTED = 100_000
_FOREVER = 1e12
"""Seconds. (An interval of the database's own cannot be infinite.)"""


class PostgresOutbox:
    """See `parley_runtime.push.outbox.Outbox` for what it promises. What was delivered is deleted.

    Leasing and settling share one connection of their own. Listener and notifier are opened and closed by whom they are
    shared with; what the sender of another process has no room for is told on a channel.
    """

    def __init__(self, store: PostgresStore, listener: Listener, notifier: Notifier) -> None:
        self._pool = store.pool
        self._listener = listener
        self._notifier = notifier
        self._channel = f"{store.address.key}_push"
        self._lane: Lane[Step, Stepped] = Lane(store.address, "push", carry_out, key=_key, patience=_PATIENCE)

    async def open(self) -> None:
        """Connect. The store must be open."""
        await self._lane.open()

    async def close(self) -> None:
        """Settle what is pending, then disconnect."""
        self._listener.off(self._channel)
        await self._lane.close()

    # -- sending

    async def lease(self, sender: str, limit: int, seconds: float, gate: Gate) -> Sequence[Delivery]:
        """See Outbox.lease. Looks at a page of what is due, at a larger one while it is full of receivers that are
        busy, and puts those off when even the largest is; so many for one receiver hide nobody else's. Between pages
        what is to be settled has its turn."""
        page = min(max(FIRST_PAGE, limit), LAST_PAGE)
        while True:
            found = await self._lane.submit(Lease(sender, limit, seconds, gate, page))
            if found.leased or not found.full:
                return found.leased
            page = min(page * 4, LAST_PAGE)

    async def delivered(self, delivery: Delivery, sender: str, then: float = 0.0) -> Delivery | None:
        """See Outbox.delivered."""
        following = await self._lane.submit(Settle("delivered", delivery, sender, then))
        return following.leased[0] if following.leased else None

    async def retry(self, delivery: Delivery, sender: str, pause: float, reason: str) -> None:
        """See Outbox.retry."""
        await self._lane.submit(Settle("retry", delivery, sender, pause, reason))

    async def release(self, delivery: Delivery, sender: str) -> None:
        """See Outbox.release."""
        await self._lane.submit(Settle("release", delivery, sender))

    async def give_up(self, delivery: Delivery, sender: str, reason: str, older: float = math.inf) -> None:
        """See Outbox.give_up."""
        await self._lane.submit(Settle("give_up", delivery, sender, min(older, _FOREVER), reason))

    async def stop(self, delivery: Delivery, sender: str, reason: str) -> None:
        """See Outbox.stop. A configuration that is to be left alone has no URL in its row."""
        await self._lane.submit(Settle("stop", delivery, sender, 0.0, reason))

    # -- configurations

    async def set(self, owner: str, config: pb.TaskPushNotificationConfig, limit: int) -> bool:
        """See Outbox.set."""
        async with self._pool.transaction() as c:
            push = await c.fetchval(sql.LOCK_TASK, config.task_id, owner)
            if push is None:
                raise UnknownTask(f"there is no task {config.task_id!r}")
            if await c.fetchval(sql.OTHERS, config.task_id, config.id) >= limit:
                return False
            values = (config.task_id, config.id, owner, config.url, config.SerializeToString())
            await c.execute(sql.SET, *values)
            if not push:
                await c.execute(sql.SET_PUSH, config.task_id)
        return True

    async def get(self, owner: str, task_id: str, config_id: str) -> pb.TaskPushNotificationConfig | None:
        """See Outbox.get."""
        async with self._pool.session() as c:
            body = await c.fetchval(sql.GET, task_id, config_id, owner)
        return None if body is None else pb.TaskPushNotificationConfig.FromString(body)

    async def list(self, owner: str, task_id: str) -> Sequence[pb.TaskPushNotificationConfig]:
        """See Outbox.list."""
        async with self._pool.session() as c:
            rows = await c.fetch(sql.LIST, task_id, owner)
        return [pb.TaskPushNotificationConfig.FromString(row["body"]) for row in rows]

    async def delete(self, owner: str, task_id: str, config_id: str) -> None:
        """See Outbox.delete."""
        async with self._pool.transaction() as c:
            if await c.fetchval(sql.DELETE, task_id, config_id, owner) is not None:
                await c.execute(sql.DROP_PENDING, task_id, config_id)

    # -- looking

    async def failures(self, task_id: str) -> Sequence[Failure]:
        """See Outbox.failures."""
        async with self._pool.session() as c:
            rows = await c.fetch(sql.FAILURES, task_id)
        return [Failure(*row) for row in reversed(rows)]

    async def state(self) -> OutboxState:
        """See Outbox.state."""
        async with self._pool.session() as c:
            return OutboxState(*await c.fetchrow(sql.STATE, _COUNTED))

    async def forget(self, older: float) -> int:
        """See Outbox.forget."""
        async with self._pool.session() as c:
            count: int = await c.fetchval(sql.FORGET, older, _FORGOTTEN_AT_ONCE)
        return count

    # -- other processes

    def attend(self, wake: Callable[[], None]) -> None:
        """See Outbox.attend."""
        self._listener.on(self._channel, lambda _: wake())

    def overflow(self) -> None:
        """See Outbox.overflow."""
        self._notifier.tell(self._channel, [""])


def _key(step: Step) -> Hashable:
    return step.sender if isinstance(step, Lease) else step.delivery.id
