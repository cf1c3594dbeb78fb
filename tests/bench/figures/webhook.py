"""A slow webhook beside a stream: how long the stream takes, with against without."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator

from client import Connection, message, request
from scale import Scale
from servers import SIDES, Server, running
from table import Row

_SLOW = 1.0
_RATE = 5.0
_GOAL = 1.1
"""1.0× within what such a short time is measured to."""


@contextlib.asynccontextmanager
async def slow_webhook() -> AsyncIterator[tuple[str, list[float]]]:
    """A webhook on this machine that takes a second for every call, and when it was called."""
    calls: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.lower().split(b"\r\n")
                length = next(int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length:"))
                await reader.readexactly(length)
                calls.append(time.monotonic())
                await asyncio.sleep(_SLOW)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/hook", calls
    finally:
        server.close()


async def _seconds(server: Server, events: int, hook: str) -> float:
    connection = await Connection.open(server.port)
    configuration = {"taskPushNotificationConfig": {"url": hook}} if hook else {}
    begun = time.perf_counter()
    body = request("SendStreamingMessage", message(f"stamps {events} {_RATE}", **configuration))
    await connection.stream(body, lambda _: None)
    took = time.perf_counter() - begun
    connection.close()
    return took


async def measure(scale: Scale) -> list[Row]:
    """The ratio of both times; each side against itself."""
    ratios: dict[str, list[float]] = {side: [] for side in SIDES}
    async with slow_webhook() as (hook, calls):
        for _ in range(scale.repeats):
            for side in SIDES:
                async with running(side) as server:
                    await _seconds(server, 1, "")
                    without = await _seconds(server, scale.hook_events, "")
                    seen = len(calls)
                    ratios[side].append(await _seconds(server, scale.hook_events, hook) / without)
                    await _called(calls, seen)
    parley, sdk = (statistics.median(ratios[side]) for side in SIDES)
    return [
        Row(
            f"stream time with a webhook that takes {_SLOW:g} s, against without",
            "1.0×",
            f"{parley:.2f}×",
            f"{sdk:.1f}×",
            met=parley <= _GOAL,
        )
    ]


async def _called(calls: list[float], seen: int) -> None:
    deadline = time.monotonic() + 10
    while len(calls) == seen:
        if time.monotonic() > deadline:
            raise RuntimeError("the webhook was never called, so nothing was measured")
        await asyncio.sleep(0.05)
