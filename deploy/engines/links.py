"""A TCP link of ours between a program and a server, which can be cut, blackholed or slowed."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal

Condition = Literal["whole", "cut", "black", "slow"]
_CHUNK = 64 * 1024


class Link:
    """Forwards connections at `port` to a server.

    `whole`: as they come. `cut`: open connections are reset and new ones refused. `black`: connections stay open
    and new ones are accepted, but nothing gets through either way until the link is whole again (then it all
    does, as after a partition). `slow`: every piece is late by `delay` seconds.
    """

    def __init__(
        self,
        target: Callable[[], tuple[str, int]],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        delay: float = 0.15,
    ) -> None:
        self.port = port
        self._address = address
        self._target = target
        self._delay = delay
        self._condition: Condition = "whole"
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen at the address (by default the loopback), at a free port if none was given."""
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, self._address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def set(self, condition: Condition) -> None:
        """Change the link's condition."""
        self._condition = condition
        if condition == "black":
            self._open.clear()
        else:
            self._open.set()
        if condition == "cut":
            await self._stop_listening()
        elif self._server is None:
            await self._listen()

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for pair in list(self._pairs):
            pair.cancel()
        if self._pairs:
            await asyncio.wait(self._pairs)

    async def close(self) -> None:
        """End all connections."""
        self._open.set()
        await self._stop_listening()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = asyncio.create_task(self._pair(reader, writer))
        self._pairs.add(pair)
        pair.add_done_callback(self._pairs.discard)

    async def _pair(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        further: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            answers, further = await asyncio.open_connection(*self._target())
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, further))
                group.create_task(self._pump(answers, writer))
        except* OSError:
            pass  # one side has gone, or the server is away; the other side is told by the end of its connection
        finally:
            for side in (writer, further):
                if side is not None:
                    side.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._open.wait()
            if self._condition == "slow":
                await asyncio.sleep(self._delay)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
