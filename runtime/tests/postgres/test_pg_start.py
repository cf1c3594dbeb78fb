"""A process that starts at the same time as its database."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import pytest

from parley_core.errors import ConfigurationError
from parley_runtime.stores.postgres.store import PostgresStore

_STARTING = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"


class FakeStart:
    """A fake for fault injection: answers `times` connections as a PostgreSQL does that starts, then leads to the real one."""

    def __init__(self, dsn: str, times: int) -> None:
        self._real = urlsplit(dsn)
        self._left = times
        self.refused = 0
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user, _, _ = self._real.netloc.rpartition("@")
        return urlunsplit(self._real._replace(netloc=f"{user}@127.0.0.1:{port}"))

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for one in self._open:
            one.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._left > 0:
            self._left -= 1
            self.refused += 1
            asked = await reader.read(4096)
            if len(asked) == 8:  # whether TLS is spoken
                writer.write(b"N")
                await reader.read(4096)
            writer.write(b"E" + (len(_STARTING) + 4).to_bytes(4) + _STARTING)
            writer.close()
            return
        theirs = await asyncio.open_connection(self._real.hostname, self._real.port)
        for one, other in ((reader, theirs[1]), (theirs[0], writer)):
            task = asyncio.create_task(_copy(one, other))
            self._open.add(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65536):
            writer.write(some)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def test_a_store_waits_for_a_database_that_is_starting_too(postgres_dsn: str) -> None:
    fake = FakeStart(postgres_dsn, times=3)
    async with fake as dsn:
        store = PostgresStore(dsn, "starts", patience=30)
        await store.open()
        await store.ping()
        await store.close()
        assert fake.refused == 3


async def test_a_database_that_is_not_there_is_waited_for_no_longer_than_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for patience in (0.0, 1.0):
        store = PostgresStore("postgresql://nobody@127.0.0.1:9/none", "absent", patience=patience)
        async with asyncio.timeout(60):
            with pytest.raises(ConfigurationError, match="is it running"):
                await store.open()
    assert [line.getMessage() for line in caplog.records] == [
        "there is no PostgreSQL at that address (ConnectionRefusedError); trying again for 1 s"
    ]
