"""What senders do to the outbox on PostgreSQL, all that is pending at once (see `stores.postgres.lane`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from a2a.types import a2a_pb2 as pb

from parley_runtime.push import statements_postgres as sql
from parley_runtime.push.outbox import Delivery, Gate
from parley_runtime.push.plan import LAST_PAGE, PARKED, Due, Plan, plan


@dataclass(frozen=True, slots=True)
class Lease:
    """A sender's wish for up to `limit` notifications from the first `page` that are due."""

    sender: str
    limit: int
    seconds: float
    gate: Gate
    page: int


@dataclass(frozen=True, slots=True)
class Settle:
    """What became of a leased notification. `seconds`: for how long the next is leased after a delivery, the pause
    before a retry, or how old others must be to be given up with this one."""

    kind: Literal["delivered", "retry", "release", "give_up", "stop"]
    delivery: Delivery
    sender: str
    seconds: float = 0.0
    reason: str = ""


Step = Lease | Settle


@dataclass(frozen=True, slots=True)
class Stepped:
    """The leased notifications; of a delivery: the next, if it was leased. `full`: the page may not have been the last."""

    leased: Sequence[Delivery] = ()
    full: bool = False


async def carry_out(c: Any, steps: Sequence[Step], unsure: bool) -> Sequence[Stepped]:
    """The outcome of each step. Settling goes first: it makes room, and others due."""
    settled = [step for step in steps if isinstance(step, Settle)]
    following = await _delivered(c, [s for s in settled if s.kind == "delivered"], unsure)
    await _retry(c, [s for s in settled if s.kind == "retry"])
    await _release(c, [s for s in settled if s.kind == "release"])
    for one in settled:
        if one.kind in ("give_up", "stop"):
            await _give_up(c, one)
    done: list[Stepped] = []
    for step in steps:
        if isinstance(step, Lease):
            done.append(await _lease(c, step))
        else:
            done.append(Stepped(following.get(step.delivery.id, ())))
    return done


async def _lease(c: Any, wish: Lease) -> Stepped:
    async with c.transaction():
        rows = [Due(*row) for row in await c.fetch(sql.DUE, wish.page)]
        full = len(rows) == wish.page
        made = plan(rows, wish.limit, wish.gate, crowded=full and wish.page == LAST_PAGE)
        taken: Sequence[Delivery] = ()
        try:
            taken = await _apply(c, made, wish)
        finally:
            made.leave(wish.gate, [delivery.id for delivery in taken])
    return Stepped(taken, full)


async def _apply(c: Any, made: Plan, wish: Lease) -> Sequence[Delivery]:
    if made.park:
        await c.execute(sql.PARK, made.park, PARKED)
    if made.put_off:
        await c.execute(sql.PUT_OFF, *map(list, zip(*made.put_off, strict=True)))
    if made.drop:
        await c.execute(sql.DROP_UNWANTED, made.drop)
    if not made.take:
        return ()
    order = {row_id: n for n, (row_id, _) in enumerate(made.take)}
    rows = await c.fetch(sql.TAKE, list(order), wish.sender, wish.seconds)
    return [_delivery(row) for row in sorted(rows, key=lambda row: order[row["id"]])]


async def _delivered(c: Any, steps: Sequence[Settle], unsure: bool) -> dict[int, Sequence[Delivery]]:
    if not steps:
        return {}
    async with c.transaction():
        gone = await c.fetch(sql.DELIVERED, *_mine(steps), [s.seconds for s in steps])
        rows = await c.fetch(sql.FOLLOWING, *map(list, zip(*gone, strict=True))) if gone else []
    found: dict[int, Sequence[Delivery]] = {row["was"]: [_delivery(row)] for row in rows}
    if unsure:
        lost = [s for s in steps if s.seconds and s.delivery.id not in found]
        lanes = ([s.delivery.task_id for s in lost], [s.delivery.config_id for s in lost])
        rows = await c.fetch(sql.UNHEARD, *_mine(lost)[:2], *lanes)
        found |= {row["was"]: [_delivery(row)] for row in rows}
    return found


async def _retry(c: Any, steps: Sequence[Settle]) -> None:
    if steps:
        values = (*_mine(steps), [s.seconds for s in steps], [s.reason for s in steps])
        await c.execute(sql.RETRY, *values)


async def _release(c: Any, steps: Sequence[Settle]) -> None:
    if steps:
        await c.execute(sql.RELEASE, *_mine(steps))


async def _give_up(c: Any, step: Settle) -> None:
    one = step.delivery
    lane = (one.task_id, one.config_id)
    values = (one.id, step.sender, one.lease_until, step.reason)
    async with c.transaction():
        if await c.fetchval(sql.GIVE_UP, *values) is None:
            return
        if step.kind == "stop":
            await c.execute(sql.SILENCE, *lane)
            await c.execute(sql.GIVE_UP_ALL, *lane, step.reason)
        else:
            await c.execute(sql.GIVE_UP_OLD, *lane, step.reason, step.seconds)
            await c.execute(sql.NEXT, *lane)


def _mine(steps: Sequence[Settle]) -> tuple[list[int], list[str], list[float]]:
    return [s.delivery.id for s in steps], [s.sender for s in steps], [s.delivery.lease_until for s in steps]


def _delivery(row: Any) -> Delivery:
    return Delivery(
        row["id"],
        row["task_id"],
        row["config_id"],
        row["generation"],
        row["body"],
        row["traceparent"],
        row["age"],
        row["attempts"],
        row["lease_until"],
        pb.TaskPushNotificationConfig.FromString(row["config"]),
    )
