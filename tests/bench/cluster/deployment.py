"""The processes of one side on one fresh database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import servers
from servers import Server

from cluster.postgres import Postgres

SIDES = servers.SIDES
FRONT, WORKER = "front", "worker"


class Deployment:
    """Two or more processes of a side. Clients call the doors: of ours the fronts, of theirs every replica."""

    def __init__(self, side: str, store: str, **settings: str) -> None:
        self.side = side
        self.store = store
        self.fronts: list[Server] = []
        self.workers: list[Server] = []
        self._settings = settings

    @property
    def ports(self) -> Sequence[int]:
        """Where clients call."""
        return tuple(server.port for server in self.fronts)

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far by all the processes, the database's apart."""
        return sum(server.cpu for server in self._all)

    async def add(self, role: str) -> Server:
        """Start one more process."""
        server = await servers.start(self.side, store=self.store, role=role, **self._settings)
        (self.fronts if role == FRONT else self.workers).append(server)
        return server

    async def stop(self) -> None:
        """End all of them."""
        await asyncio.gather(*(server.stop() for server in self._all))

    @property
    def _all(self) -> list[Server]:
        return [*self.fronts, *self.workers]


@contextlib.asynccontextmanager
async def deployed(
    postgres: Postgres, side: str, *, fronts: int = 1, workers: int = 1, **settings: str
) -> AsyncIterator[Deployment]:
    """A side on a database of its own: ours as so many fronts and workers, theirs as as many replicas in all, since
    each of theirs is both. Gone afterwards."""
    async with postgres.database() as store:
        deployment = Deployment(side, store, **settings)
        try:
            roles = (
                [FRONT] * fronts + [WORKER] * workers if side == "parley" else [FRONT] * (fronts + workers)
            )
            for role in roles:
                await deployment.add(role)
            yield deployment
        finally:
            await deployment.stop()
