"""The PostgreSQL server of a run: a fresh database for each measurement, and what processor time the server uses."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

_numbers = itertools.count(1)


class Postgres:
    """A server that both sides use. `url` may name any database of it; its user may create others."""

    def __init__(self, url: str, postmaster: psutil.Process, version: str) -> None:
        self.version = version
        self._url = url
        self._postmaster = postmaster

    @classmethod
    async def at(cls, url: str) -> "Postgres":
        """The server at an address on this machine. Raises RuntimeError when it would not keep what it commits:
        then it is no opponent's store and no store of ours."""
        connection = await asyncpg.connect(url)
        try:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                if await connection.fetchval("SELECT current_setting($1)", setting) != "on":
                    raise RuntimeError(
                        f"{setting} of the PostgreSQL server is off; what is measured must be durable"
                    )
            postmaster = psutil.Process(connection.get_server_pid()).parent()
            assert postmaster is not None
            version = await connection.fetchval("SHOW server_version")
        finally:
            await connection.close()
        return cls(url, postmaster, version.split()[0])

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far by all its processes, those that have ended included."""
        total = _used(self._postmaster)
        for process in self._postmaster.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += _used(process)
        return total

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The address of a database that is new and gone afterwards."""
        name = f"bench_{next(_numbers)}"
        await self._do(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}", "CHECKPOINT"
        )
        try:
            yield urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))
        finally:
            await self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _do(self, *statements: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
