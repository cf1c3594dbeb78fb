"""Servers that want to do harm when a card is fetched from them: bombs, drips, endless answers, names that point elsewhere."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import ip_network

import psutil
import pytest

from parley_core.guardedhttp import guarded_client
from parley_core.urlguard import UrlGuard
from parley_registry import external
from parley_registry.client import McpKey, PromptKey, RegistryClient
from parley_registry.errors import CardUnreachable, RegistryUnavailable
from parley_registry.external import External

Behave = Callable[[asyncio.StreamWriter], Awaitable[None]]
MIB = 1024 * 1024


class HostileServer:
    """Real, and as bad as a test says: `behave` answers every connection."""

    def __init__(self) -> None:
        self.behave: Behave = self._nothing
        self.calls = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/card.json"

    async def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            await self.behave(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _nothing(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)


@pytest.fixture
async def server() -> AsyncIterator[HostileServer]:
    made = HostileServer()
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def cards(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[External]:
    """Fetching with little patience, from loopback too."""
    monkeypatch.setattr(external, "FETCH_SECONDS", 1.0)
    made = External(None, allow=[ip_network("127.0.0.0/8")], every=60.0, admit=None)  # type: ignore[arg-type]
    yield made
    await made.close()


async def send(writer: asyncio.StreamWriter, *parts: bytes) -> None:
    for part in parts:
        writer.write(part)
        await writer.drain()


async def gzip_bomb(writer: asyncio.StreamWriter) -> None:
    bomb = gzip.compress(b"0" * (50 * MIB))
    await send(
        writer, b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb), bomb
    )


async def layered_bomb(writer: asyncio.StreamWriter) -> None:
    bomb = gzip.compress(gzip.compress(b"0" * (50 * MIB)))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, identity\r\nContent-Encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    await send(writer, head % len(bomb), bomb)


async def packed_on_the_way(writer: asyncio.StreamWriter) -> None:
    bomb = gzip.compress(b"0" * (50 * MIB))
    await send(
        writer,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n%x\r\n" % len(bomb),
        bomb,
        b"\r\n0\r\n\r\n",
    )


async def endless(writer: asyncio.StreamWriter) -> None:
    await send(writer, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await send(writer, b"10000\r\n" + b" " * 65536 + b"\r\n")


async def endless_head(writer: asyncio.StreamWriter) -> None:
    await send(writer, b"HTTP/1.1 200 OK\r\n")
    while True:
        await send(writer, b"x-more: " + b"x" * 60_000 + b"\r\n")


async def endless_line(writer: asyncio.StreamWriter) -> None:
    while True:
        await send(writer, b"x" * 65536)


async def endless_hints(writer: asyncio.StreamWriter) -> None:
    while True:
        await send(writer, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 100)


async def dripping_head(writer: asyncio.StreamWriter) -> None:
    await send(writer, b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        await send(writer, b"x")
        await asyncio.sleep(0.05)


async def dripping_body(writer: asyncio.StreamWriter) -> None:
    await send(writer, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{")
    while True:
        await send(writer, b" ")
        await asyncio.sleep(0.05)


async def deep(writer: asyncio.StreamWriter) -> None:
    body = b'{"a":' * 50_000
    await send(writer, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body), body)


async def nonsense(writer: asyncio.StreamWriter) -> None:
    await send(writer, b"\x16\x03\x01\x00\x00 nothing of HTTP\r\n\r\n")


async def broken_off(writer: asyncio.StreamWriter) -> None:
    await send(writer, b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")


async def redirect(writer: asyncio.StreamWriter) -> None:
    await send(
        writer, b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n"
    )


@pytest.mark.parametrize(
    "behave",
    [
        gzip_bomb,
        layered_bomb,
        packed_on_the_way,
        endless,
        endless_head,
        endless_line,
        endless_hints,
        dripping_head,
        dripping_body,
        deep,
        nonsense,
        broken_off,
        redirect,
    ],
)
async def test_a_hostile_answer_ends_soon_in_a_clear_refusal(
    server: HostileServer, cards: External, behave: Behave
) -> None:
    server.behave = behave
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    with pytest.raises(CardUnreachable) as refused:
        await cards.fetch(server.url)
    assert time.monotonic() - began < 20.0
    assert psutil.Process().memory_info().rss - before < 40 * MIB
    assert str(refused.value)


async def test_a_name_that_points_elsewhere_after_it_was_checked_is_called_where_it_was_checked(
    server: HostileServer,
) -> None:
    """DNS rebinding: the first answer is harmless, the next one is of the inside."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async def card(writer: asyncio.StreamWriter) -> None:
        await send(writer, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    server.behave = card
    guard = UrlGuard([ip_network("127.0.0.0/8")], resolver=rebinding)
    async with guarded_client(guard, seconds=2.0) as http:
        answer = await http.get(f"http://cards.example.com:{server.port}/card.json")
        assert answer.status_code == 200
        assert asked == ["cards.example.com"], "resolved once for the check and the call"
        with pytest.raises(Exception, match="metadata"):
            await http.get(f"http://cards.example.com:{server.port}/card.json")


@pytest.mark.parametrize(
    "said",
    [b"<html>sign in first</html>", b"[]", b'{"name": "coder"}', b"7", b"", b"\xff"],
    ids=["a page", "a list", "parts", "a number", "nothing", "noise"],
)
async def test_what_no_registry_says_counts_as_a_registry_that_is_away(
    server: HostileServer, said: bytes
) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
        await writer.drain()

    server.behave = answer
    asked: list[Callable[[RegistryClient], Awaitable[object]]] = [
        lambda client: client.get("coder"),
        lambda client: client.versions("coder"),
        lambda client: client.search(),
        lambda client: client.trail(),
        lambda client: client.rollout("coder"),
        lambda client: client.prompts.get(PromptKey("public", "review")),
        lambda client: client.prompts.list(),
        lambda client: client.mcp.get(McpKey("public", "files")),
        lambda client: client.mcp.versions(McpKey("public", "files")),
    ]
    async with RegistryClient(server.url.removesuffix("/card.json")) as client:
        for ask in asked:
            with pytest.raises(RegistryUnavailable, match="no form of a Parley registry"):
                await ask(client)
