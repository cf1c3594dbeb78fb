"""Nacos's built-in database refuses one of several who write at once. The server here is a fake: it injects that fault."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from parley_registry.errors import RegistryUnavailable
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.http import NacosHttp

LOCKED = (
    b'{"code": 30000, "message": "data access error", "data": "A lock could not be obtained within the time"}'
)
DONE = b'{"code": 0, "message": "success", "data": "ok"}'


@asynccontextmanager
async def nacos(refusals: int, called: list[str]) -> AsyncIterator[NacosHttp]:
    """A client of a server whose database is locked for so many calls."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.append((await reader.readuntil(b"\r\n\r\n")).split()[0].decode())
        status, body = (b"500 Error", LOCKED) if len(called) <= refusals else (b"200 OK", DONE)
        head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        writer.write(head + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = NacosHttp(NacosAddress.parse(f"nacos://127.0.0.1:{port}/public"))
    try:
        yield http
    finally:
        await http.aclose()
        server.close()


async def test_a_write_that_its_database_was_locked_for_is_tried_again() -> None:
    called: list[str] = []
    async with nacos(2, called) as http:
        assert await http.post("/v3/admin/ai/a2a", {}) == "ok"
    assert called == ["POST"] * 3


@pytest.mark.parametrize(
    ("call", "tries"),
    [(lambda http: http.put("/v3/x", {}), 4), (lambda http: http.delete("/v3/x", {}), 1)],
    ids=["a database that stays locked", "a deletion may be half done"],
)
async def test_it_is_not_tried_for_ever(call: Callable[[NacosHttp], Awaitable[object]], tries: int) -> None:
    called: list[str] = []
    async with nacos(99, called) as http:
        with pytest.raises(RegistryUnavailable, match="lock could not be obtained"):
            await call(http)
    assert len(called) == tries
