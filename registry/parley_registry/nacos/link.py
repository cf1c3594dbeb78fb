"""One gRPC channel to one server of Nacos, and the stream on it."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import grpc

from parley_registry.nacos.payload import pack

_LARGEST = 32 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _LARGEST),
    ("grpc.max_send_message_length", _LARGEST),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


class Link:
    """A gRPC channel and the stream on it. Nobody else refers to either: gRPC closes a connection only when nobody does
    any more, and a server that is not told so keeps instances for 20 seconds."""

    def __init__(self, target: str, *, tls: bool) -> None:
        self._channel: Any = (
            grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=_OPTIONS)
            if tls
            else grpc.aio.insecure_channel(target, options=_OPTIONS)
        )
        self._unary: Any = self._channel.unary_unary("/Request/request")
        self._stream: Any = None

    def begin(self) -> None:
        """Open the stream on which the server pushes."""
        self._stream = self._channel.stream_stream("/BiRequestStream/requestBiStream")()

    async def call(self, data: bytes, deadline: float) -> bytes:
        """The answer to one request. Raises AioRpcError; CancelledError when the channel is closed meanwhile."""
        if self._unary is None:
            raise asyncio.CancelledError
        answer: bytes = await self._unary(data, timeout=deadline)
        return answer

    async def read(self) -> bytes | None:
        """The next thing pushed; None at the end."""
        data = await self._stream.read()
        return None if data is grpc.aio.EOF else bytes(data)

    async def write(self, kind: str, body: Mapping[str, Any]) -> None:
        """Say something on the stream; at its end nothing is said."""
        with contextlib.suppress(asyncio.InvalidStateError):  # grpc.aio, when it has just ended
            await self._stream.write(pack(kind, body, {}))

    async def close(self) -> None:
        """End it."""
        if self._stream is not None:
            self._stream.cancel()
        channel, self._channel, self._unary, self._stream = self._channel, None, None, None
        await channel.close(None)
