"""What the tests of Nacos share: waiting without luck, and a network that can be cut."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from engines.ports import free_port
from parley_registry.nacos.address import NacosAddress, Server


async def until(what: Callable[[], Any], within: float = 10.0) -> float:
    """Wait until `what` is true; the seconds that took."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > within:
            raise AssertionError(f"not so within {within} s")
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def eventually(what: Callable[[], Awaitable[Any]], within: float = 10.0) -> Any:
    """Wait until what is awaited is true; its value."""
    began = time.monotonic()
    while not (found := await what()):
        if time.monotonic() - began > within:
            raise AssertionError(f"not so within {within} s")
        await asyncio.sleep(0.02)
    return found


class CutNetwork:
    """Two ports before a Nacos (HTTP, and gRPC 1000 above) through which nothing gets while `cut` (a fake for faults)."""

    def __init__(self, address: NacosAddress) -> None:
        self._to = address.servers[0]
        self.port = free_port(also=(1000,))
        self.cut = False
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._whole = asyncio.Event()
        self._whole.set()

    def address(self, address: NacosAddress) -> NacosAddress:
        """The same address, through this network."""
        return NacosAddress(
            (Server("127.0.0.1", self.port),), address.namespaces, address.user, address.password
        )

    def part(self) -> None:
        """From now on nothing gets through, and nobody is told so."""
        self._whole.clear()

    def heal(self) -> None:
        """What waited goes on its way."""
        self._whole.set()

    async def __aenter__(self) -> Self:
        for offset in (0, 1000):
            self._servers.append(
                await asyncio.start_server(
                    self._serve(self._to.port + offset), "127.0.0.1", self.port + offset
                )
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _serve(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            for source, target in ((reader, far_writer), (far_reader, writer)):
                task = asyncio.create_task(self._pass(source, target))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        return serve

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._whole.wait()
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()
