"""Very many subscribers of one task in a process of their own: `python crowd.py PORT TASK STREAMS STALLED`.

Writes "open" when all of them have had their first event. From then on, for each stamped event (see agent.py's
`stamps`) that all have heard but the last STALLED, which read nothing more, a line of the lags in milliseconds: median,
99th percentile, highest. Ends when its input does.
"""

import asyncio
import re
import resource
import sys
import time
from collections import defaultdict
from typing import Any

import uvloop
from client import request

_AT_ONCE = 100
"""Subscriptions under way at any time: no more than a listen queue holds."""
_STAMP = re.compile(rb'"text": ?"([0-9]{19})"')


class Crowd:
    """What its subscribers have heard."""

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self._lags: dict[bytes, list[float]] = defaultdict(list)
        self.ended = 0

    def heard(self, data: bytes) -> None:
        """Note the stamps in what one subscriber received."""
        now = time.time_ns()
        for stamp in _STAMP.findall(data):
            lags = self._lags[stamp]
            lags.append((now - int(stamp)) / 1e6)
            if len(lags) == self._streams:
                lags.sort()
                print(
                    f"{lags[len(lags) // 2]:.2f} {lags[int(len(lags) * 0.99)]:.2f} {lags[-1]:.2f}", flush=True
                )
                del self._lags[stamp]


class Subscriber(asyncio.Protocol):
    """One stream. Reads no answer but looks for stamps in it, which is all that 10,000 of them leave time for."""

    __slots__ = ("_crowd", "_request", "_stalls", "_transport", "first")

    def __init__(self, crowd: Crowd, body: bytes, stalls: bool) -> None:
        self._crowd = crowd
        self._request = body
        self._stalls = stalls
        self._transport: Any = None
        self.first = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.first.done():
            if b"data:" not in data:
                if not data.startswith(b"HTTP/1.1 200"):
                    self.first.set_exception(RuntimeError(data[:300].decode()))
                return
            self.first.set_result(None)
            if self._stalls:
                self._transport.pause_reading()
            return
        if not self._stalls:
            self._crowd.heard(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.ended += 1
        if not self.first.done():
            self.first.set_exception(RuntimeError(f"the connection was closed: {exc}"))


async def main(port: int, task: str, streams: int, stalled: int) -> None:
    """Subscribe all, then report until the input ends."""
    crowd = Crowd(streams - stalled)
    body = request("SubscribeToTask", {"id": task})
    head = (
        f"POST /a2a/jsonrpc HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nA2A-Version: 1.0\r\nContent-Type: application/json\r\n"
        f"Accept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    whole = head.encode() + body
    loop = asyncio.get_running_loop()
    numbers = iter(range(streams))

    async def subscribe() -> None:
        for number in numbers:
            subscriber = Subscriber(crowd, whole, stalls=number >= streams - stalled)
            _, made = await loop.create_connection(lambda: subscriber, "127.0.0.1", port)  # noqa: B023 - called at once
            await asyncio.wait_for(made.first, 60)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(subscribe())
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(f"ended {crowd.ended}", flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
