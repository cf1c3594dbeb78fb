"""The store on a PostgreSQL schema, shared by any number of processes.

Accepting, appending, parking and loading each have a connection of their own that does all that is pending at once
(see `lane.Lane`); taking has one too, and everything else shares a small pool. Every time is the database's.
"""

import asyncio
import time
from asyncio import Future
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from parley_core.errors import Unavailable
from parley_registry.client import RolloutVersion, VersionFigures
from parley_runtime.store import (
    Accepted,
    Append,
    Appended,
    Limits,
    LoggedEvent,
    NewMessage,
    Parked,
    QueueState,
    Resident,
    StepRecord,
    StoredTask,
    Taken,
    TaskFilter,
    TaskPage,
    TaskTrace,
    Work,
)
from parley_runtime.stores.postgres import accepting, appending, leasing, reading, retaining, versions
from parley_runtime.stores.postgres import statements as sql
from parley_runtime.stores.postgres.connection import Pool, address_of
from parley_runtime.stores.postgres.lane import Lane
from parley_runtime.stores.postgres.opening import explained, migrated
from parley_runtime.stores.postgres.renewer import Renewer
from parley_runtime.stores.postgres.upkeep import Upkeep

_PATIENCE_CALLER = 5.0
"""Seconds for which a caller waits for a database that is away before it is told so …"""
_PATIENCE_EXECUTOR = 20.0
"""… and an executor's events, which are worth more: giving up on them means running it again."""
_LOOK_FOR_ORPHANS = 0.5
_WRITE_TRIED = 10.0


class PostgresStore:
    """See `parley_runtime.store.Store` for what it promises. `url` as for `connection.address_of`.

    A database that cannot be reached when the store is opened is waited for, for `patience` seconds.
    """

    def __init__(self, url: str, agent: str, *, patience: float = 0.0) -> None:
        self._patience = patience
        self.address = address_of(url, agent)
        self.pool = Pool(self.address)
        self._upkeep = Upkeep(self.pool)
        self._orphans: Sequence[str] = ()
        self._orphans_at = 0.0
        self._write_at = 0.0
        self._renewer: Renewer | None = None
        accept = accepting.Accepting(lambda: self._upkeep.limits)
        a, caller = self.address, _PATIENCE_CALLER
        # Follow-ups, which take several round trips, are not to hold up new tasks.
        self._follow: Lane[accepting.Request, Accepted] = Lane(
            a, "follow-up", accept.follow_ups, key=lambda r: r.key, patience=caller
        )
        self._accept: Lane[accepting.Request, Accepted] = Lane(
            a, "accept", accept.new, key=lambda r: r.key, patience=caller
        )
        self._append: Lane[Append, Appended] = Lane(
            a,
            "append",
            appending.append,
            key=lambda i: i.task_id,
            patience=_PATIENCE_EXECUTOR,
            size=lambda i: len(i.events),
        )
        self._finish: Lane[appending.Finish, Parked] = Lane(
            a, "finish", appending.finish, key=lambda i: i.task_id, patience=_PATIENCE_EXECUTOR
        )
        # Who asks for the same task has the same answer: a crowd of subscribers is one row.
        self._load: Lane[str, StoredTask] = Lane(
            a, "load", reading.load, key=lambda _: object(), patience=caller
        )
        # Streams on however many tasks look for what they may have missed, and seldom is there any.
        self._heads: Lane[str, int] = Lane(
            a, "heads", reading.generations, key=lambda _: object(), patience=caller
        )
        self._take: Lane[_Take, Taken] = Lane(
            a, "take", self._taking, key=lambda i: i.worker, patience=caller
        )
        self._lanes: Sequence[Lane[Any, Any]] = (
            self._accept,
            self._follow,
            self._append,
            self._finish,
            self._load,
            self._heads,
            self._take,
        )

    async def open(self) -> None:
        with explained(self.address.schema):
            await migrated(self.address, self._patience)
            await self.pool.open()
            for lane in self._lanes:
                await lane.open()
            await self._upkeep.open()

    async def close(self) -> None:
        await self._upkeep.close()
        if self._renewer is not None:
            await self._renewer.stop()
        await asyncio.gather(*(lane.close() for lane in self._lanes))
        await self.pool.close()

    async def ping(self) -> None:
        try:
            async with asyncio.timeout(2), self.pool.session() as c:
                if await c.fetchval("SELECT pg_is_in_recovery()"):
                    raise Unavailable("the store is a standby and takes no writes; try again")
                if time.monotonic() >= self._write_at:
                    await c.execute(sql.TOUCH)
                    self._write_at = time.monotonic() + _WRITE_TRIED
        except TimeoutError as error:
            raise Unavailable("the store does not answer; try again") from error

    async def move_in(self, me: Resident) -> Sequence[Resident]:
        async with self.pool.transaction() as c:
            await c.execute(sql.MOVING_IN)
            there = [Resident(*row) for row in await c.fetch(sql.RESIDENTS)]
            await c.execute(sql.MOVE_IN, me.agent, me.version, me.executor)
        return there

    # -- accepting

    def accept(self, message: NewMessage, *, take_as: str = "") -> "Future[Accepted]":
        lane = self._follow if message.follow_up else self._accept
        future = lane.submit(accepting.Request(message, take_as))
        if take_as:
            future.add_done_callback(self._leased)
        return future

    def _leased(self, done: "Future[Accepted]") -> None:
        if not done.cancelled() and done.exception() is None and (work := done.result().work) is not None:
            self._upkeep.heard_of([work])

    async def request_cancel(self, task_id: str, owner: str, request: bytes, traceparent: str) -> bool:
        async with self.pool.transaction() as c:
            return await leasing.request_cancel(c, task_id, owner, request, traceparent)

    # -- working

    async def register_worker(self, worker: str, version: str, lease_seconds: float) -> None:
        if self._renewer is not None:
            await self._renewer.stop()
        async with self.pool.session() as c:
            await c.execute(sql.RENEW, worker, version, lease_seconds)
        self._upkeep.worker = worker
        self._renewer = Renewer(self.address, worker, version, lease_seconds)
        self._renewer.start()

    async def retire_worker(self, worker: str) -> int:
        if self._renewer is not None:
            await self._renewer.stop()
            self._renewer = None
        self._upkeep.worker = ""
        async with self.pool.transaction() as c:
            await c.execute(sql.RETIRE, worker)
            held = [row["task_id"] for row in await c.fetch(sql.HELD_BY, worker)]
            return await leasing.free(c, held, worker)

    async def take(self, worker: str, version: str, limit: int) -> Taken:
        taken = await self._take.submit(_Take(worker, version, limit))
        self._upkeep.heard_of(taken.work)
        return taken

    async def _taking(self, c: Any, items: "Sequence[_Take]", unsure: bool) -> Sequence[Taken]:
        return [await self._take_one(c, item) for item in items]

    async def _take_one(self, c: Any, item: "_Take") -> Taken:
        taken, rank = await leasing.take(c, item.worker, item.version, item.limit, self._upkeep.limits)
        found = list(taken.work)
        if len(found) < item.limit and not taken.wait:
            for version in await self._unhosted(c, item.version, now=not found):
                more, rank_there = await leasing.take(
                    c, item.worker, version, item.limit - len(found), self._upkeep.limits
                )
                found += more.work
                rank = max(rank, rank_there)
        self._upkeep.reached(rank)
        return Taken(found, taken.wait)

    async def _unhosted(self, c: Any, version: str, *, now: bool) -> Sequence[str]:
        """Versions that have work waiting and no worker alive, which `version` is to do; asked for `now`, or now and then, as there seldom are any."""
        if now or time.monotonic() >= self._orphans_at:
            self._orphans_at = time.monotonic() + _LOOK_FOR_ORPHANS
            self._orphans = [row["version"] for row in await c.fetch(sql.ORPHANS, version)]
        return self._orphans

    async def take_expired(self, worker: str, limit: int) -> Sequence[Work]:
        async with self.pool.session() as c:
            found = [leasing.work(row) for row in await c.fetch(sql.TAKE_EXPIRED, worker, limit)]
        self._upkeep.heard_of(found)
        return found

    async def take_cancels(self, worker: str) -> Sequence[Work]:
        async with self.pool.session() as c:
            return await leasing.take_cancels(c, worker)

    async def held(self, worker: str) -> Mapping[str, int]:
        async with self.pool.session() as c:
            return {row["id"]: row["epoch"] for row in await c.fetch(sql.HELD, worker)}

    async def in_use(self, version: str) -> bool:
        async with self.pool.session() as c:
            return bool(await c.fetchval(sql.IN_USE, version))

    def append(self, append: Append) -> "Future[Appended]":
        return self._append.submit(append)

    async def finish(self, task_id: str, epoch: int, number: int, *, refusal: str = "") -> Parked:
        return await self._finish.submit(appending.Finish(task_id, epoch, number, refusal))

    async def release(self, task_id: str, epoch: int, number: int, *, counts: bool = True) -> None:
        async with self.pool.transaction() as c:
            await leasing.release(c, task_id, epoch, number, counts)

    async def record_step(self, task_id: str, epoch: int, number: int, step: StepRecord) -> bool:
        row = (task_id, epoch, number, step.name, step.result, step.started, step.ended)
        async with self.pool.session() as c:
            return (await c.execute(sql.ADD_STEP, *row)) == "INSERT 0 1" or bool(
                await c.fetchval(_FENCED, task_id, epoch)
            )

    async def sweep(self) -> int:
        async with self.pool.transaction() as c:
            return await leasing.sweep(c)

    # -- reading

    async def steps(self, task_id: str, number: int) -> Sequence[StepRecord]:
        async with self.pool.session() as c:
            return [StepRecord(*row) for row in await c.fetch(sql.STEPS, task_id, number)]

    async def load(self, task_id: str, owner: str | None = None) -> StoredTask | None:
        if "\0" in task_id:  # which no text of the database can hold
            return None
        try:
            found = await self._load.submit(task_id)
        except ValueError:
            return None
        return found if owner is None or found.owner == owner else None

    async def events(self, task_id: str, after: int, limit: int = 1000) -> Sequence[LoggedEvent]:
        if await self._heads.submit(task_id) <= after:
            return []
        async with self.pool.session() as c:
            return await reading.events(c, task_id, after, limit)

    async def list_tasks(self, wanted: TaskFilter) -> TaskPage:
        async with self.pool.session() as c:
            return await reading.list_tasks(c, wanted)

    async def trace(self, task_id: str, owner: str) -> TaskTrace | None:
        async with self.pool.session() as c:
            return await reading.trace(c, task_id, owner)

    async def queue_state(self) -> QueueState:
        async with self.pool.session() as c:
            counts, running, oldest, now, tokens, refilled = await c.fetchrow(sql.QUEUE_STATE)
        waiting = {int(priority): count for priority, count in orjson.loads(counts).items()}
        limits, age = self._upkeep.limits, max(0.0, now - oldest) if oldest is not None else 0.0
        left = min(float(limits.burst), tokens + max(0.0, now - refilled) * limits.rate)
        quota = left if limits.rate > 0 else None
        return QueueState(sum(waiting.values()), running, age, waiting, quota)

    # -- versions

    async def rollout(self) -> Sequence[RolloutVersion]:
        async with self.pool.session() as c:
            return await versions.rollout(c)

    async def set_rollout(self, table: Sequence[RolloutVersion]) -> None:
        async with self.pool.transaction() as c:
            await versions.set_rollout(c, table)

    async def move(self, version: str, to: str) -> int:
        async with self.pool.transaction() as c:
            return await versions.move(c, version, to)

    async def figures(self, since: float) -> Sequence[VersionFigures]:
        async with self.pool.session() as c:
            return await versions.figures(c, since)

    async def unhosted(self) -> Mapping[str, int]:
        async with self.pool.session() as c:
            return await versions.unhosted(c)

    # -- limits, retention, upkeep

    async def limits(self) -> Limits:
        return self._upkeep.limits

    async def set_limits(self, limits: Limits) -> None:
        values = {name: getattr(limits, name) for name in Limits.__slots__}
        values["weights"] = dict(limits.weights)
        async with self.pool.session() as c:
            await c.execute(sql.SET_LIMITS, orjson.dumps(values).decode(), float(limits.burst))
        self._upkeep.limits = limits

    async def retain(self, events: float, tasks: float) -> int:
        async with self.pool.transaction() as c:
            compacted = await retaining.compact(c, events)
        async with self.pool.transaction() as c:
            return compacted + await retaining.forget(c, tasks)


class _Take:
    """A worker's wish for up to `limit` entries of a version."""

    __slots__ = ("limit", "version", "worker")

    def __init__(self, worker: str, version: str, limit: int) -> None:
        self.worker = worker
        self.version = version
        self.limit = limit


_FENCED = "SELECT EXISTS (SELECT FROM task WHERE id = $1 AND epoch = $2)"
