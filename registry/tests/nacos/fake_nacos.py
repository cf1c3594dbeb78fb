"""A Nacos that answers nothing but what keeps a connection: for faults that a real one cannot be made to have at a given moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from engines.ports import free_port
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.payload import pack, unpack


@dataclass
class FakeNacos:
    """`address` is where it is. `connections` and `checks` count what clients began, and asked.

    A health check for whose number (from 1) `silent` says so is not answered before `loud` is set.
    """

    address: NacosAddress
    silent: Callable[[int], bool]
    connections: int = 0
    checks: int = 0
    loud: asyncio.Event = field(default_factory=asyncio.Event)

    async def request(self, data: bytes, _: Any) -> bytes:
        kind, _body = unpack(data)
        if kind == "HealthCheckRequest":
            self.checks += 1
            if self.silent(self.checks):
                await self.loud.wait()
        return _answer(kind.removesuffix("Request") + "Response")

    async def stream(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for data in requests:
            if unpack(data)[0] == "ConnectionSetupRequest":
                self.connections += 1
                yield _answer("SetupAckRequest")


@asynccontextmanager
async def fake_nacos(silent: Callable[[int], bool]) -> AsyncIterator[FakeNacos]:
    """One that runs meanwhile, at a port of its own."""
    port = free_port(also=[1000])
    fake = FakeNacos(NacosAddress.parse(f"nacos://127.0.0.1:{port}"), silent)
    server: Any = grpc.aio.server()
    unary = grpc.unary_unary_rpc_method_handler(fake.request)
    stream = grpc.stream_stream_rpc_method_handler(fake.stream)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("Request", {"request": unary}),
            grpc.method_handlers_generic_handler("BiRequestStream", {"requestBiStream": stream}),
        )
    )
    server.add_insecure_port(f"127.0.0.1:{port + 1000}")
    await server.start()
    try:
        yield fake
    finally:
        fake.loud.set()
        await server.stop(None)


def _answer(kind: str) -> bytes:
    return pack(kind, {"resultCode": 200, "errorCode": 0}, {})
