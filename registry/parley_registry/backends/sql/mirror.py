"""A record in a database that is the copy of another one."""

import time
from collections.abc import Sequence

from sqlalchemy import Connection

from parley_registry.audit import Actor
from parley_registry.backends.sql import mirroring
from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.mirroring import Original
from parley_registry.backends.sql.record import SqlRecord
from parley_registry.backends.sql.transaction import values_of
from parley_registry.entry import Agent, Instance, Key
from parley_registry.rollout import Rollout

_AHEAD = 60.0
"""Seconds by which the clocks of two processes may differ; a time that is further ahead was noted by a clock that has been
put right since, and says nothing."""


class SqlMirror(SqlRecord):
    """`SqlRecord` with what its keeper needs besides. External agents are its own; all others are copies."""

    async def mirror(
        self,
        agent: Agent,
        originals: Sequence[Original],
        rollout: Rollout,
        *,
        since: int,
        by: Actor | None = None,
    ) -> bool:
        """See `mirroring.mirror`."""
        return await self.database.write(
            lambda db: mirroring.mirror(db, agent, originals, rollout, since, by)
        )

    async def admit(self, agent: Agent, actor: Actor) -> None:
        """See `mirroring.admit`."""
        await self.database.write(lambda db: mirroring.admit(db, agent, actor))

    async def agents(self) -> list[Agent]:
        """All that are copies; not names that only have an owner."""

        def read(db: Connection) -> list[Agent]:
            return [Agent(row.namespace, row.name) for row in db.execute(sql.AGENT_NAMES)]

        return await self.database.glance(read)

    async def is_external(self, agent: Agent) -> bool:
        """Whether it is one of its own."""
        row = await self.database.glance(lambda db: db.execute(sql.AGENT, values_of(agent)).fetchone())
        return row is not None and bool(row.source)

    async def announced(self, key: Key, instance_id: str) -> tuple[Instance, bytes] | None:
        """A live instance and its interfaces, None when it is not known."""

        def read(db: Connection) -> tuple[Instance, bytes] | None:
            for row in db.execute(sql.INSTANCES_OF_ENTRY, values_of(key)):
                if row.id == instance_id:
                    return Instance(row.id, row.url), bytes(row.interfaces)
            return None

        return await self.database.glance(read)

    async def synced(self, namespace: str) -> float:
        """When the copies of a namespace were last known to be the same, by any process, in seconds since the epoch; 0: never."""

        def read(db: Connection) -> float:
            at = float(db.execute(sql.SYNCED, {"namespace": namespace}).scalar() or 0.0)
            return at if at <= time.time() + _AHEAD else 0.0

        return await self.database.glance(read)

    async def set_synced(self, namespace: str, at: float) -> None:
        """Note that they were the same at that time."""

        def write(db: Connection, _: float) -> None:
            latest = time.time() + _AHEAD
            db.execute(sql.SET_SYNCED, {"namespace": namespace, "synced": at, "latest": latest})

        await self.database.beat(write)
