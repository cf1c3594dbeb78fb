"""One HTTP/2 connection to a RocketMQ proxy: calls with a deadline, answers checked, refusals as errors."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.errors import (
    NotAllowed,
    RocketAway,
    RocketError,
    TooManyLiteTopics,
    TopicMissing,
    untrusted,
)
from parley_runtime.rocketmq.stubs import definition, stub

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 3000),  # in truth: how long one attempt may take
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel would stand on the old one's connection
)
"""No keepalive pings: the proxy ends a connection that sends them more often than every five minutes."""

_PASSING = frozenset(
    {
        definition.Code.MESSAGE_PROPERTY_CONFLICT_WITH_TYPE,  # the proxy asks a broker that restarts for the type
        definition.Code.TOO_MANY_REQUESTS,
        definition.Code.REQUEST_TIMEOUT,
        definition.Code.INTERNAL_ERROR,
        definition.Code.INTERNAL_SERVER_ERROR,
        definition.Code.HA_NOT_AVAILABLE,
        definition.Code.PROXY_TIMEOUT,
        definition.Code.MASTER_PERSISTENCE_TIMEOUT,
        definition.Code.SLAVE_PERSISTENCE_TIMEOUT,
    }
)
"""Codes with which a proxy says that a broker does not answer now."""


_SILENT = 5.0
"""Seconds without any answer after which the connection counts as dead although nobody closed it …"""
_GRACE = 30.0
"""… and for which calls on it may still end as they can."""


class Connection:
    """Shared by the producers and consumers of one process. Connects when first used, and again by itself; also when a
    network that was cut left a connection behind on which nothing comes any more."""

    def __init__(self, address: RocketAddress) -> None:
        self.address = address
        self.number = 0
        """Of the channel; sessions begun on an earlier one are to be begun again."""
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._answered = 0.0
        self._leaving: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Make the channel; nothing is sent yet."""
        if self.address.tls:
            trusted = grpc.ssl_channel_credentials(self.address.ca)
            self._channel = grpc.aio.secure_channel(self.address.target, trusted, options=_OPTIONS)
        else:
            self._channel = grpc.aio.insecure_channel(self.address.target, options=_OPTIONS)
        self._stub = stub.MessagingServiceStub(self._channel)
        self._answered = time.monotonic()
        self.number += 1

    async def close(self) -> None:
        """Let go of the connection, once nobody uses it any more."""
        for task in self._leaving:
            task.cancel()
        if self._leaving:
            await asyncio.wait(self._leaving)
        if self._channel is not None:
            await self._channel.close(None)

    async def call(self, method: str, request: Any, metadata: Any, deadline: float) -> Any:
        """One call; its response, which may carry a status that is not OK. Raises RocketAway."""
        number = self.number
        try:
            response = await getattr(self._stub, method)(
                request, metadata=self._signed(metadata), timeout=deadline
            )
        except grpc.aio.AioRpcError as error:
            silent = time.monotonic() - self._answered > _SILENT
            if silent and number == self.number and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                self._renew()
            raise away(error) from None
        self._answered = time.monotonic()
        return response

    async def stream(
        self, method: str, request: Any, metadata: Any, deadline: float
    ) -> AsyncGenerator[Any, None]:
        """The responses of a call that has several. Raises RocketAway."""
        try:
            signed = self._signed(metadata)
            async for response in getattr(self._stub, method)(request, metadata=signed, timeout=deadline):
                yield response
        except grpc.aio.AioRpcError as error:
            raise away(error) from None

    def _renew(self) -> None:
        assert self._channel is not None
        old = self._channel
        self.open()
        task = asyncio.create_task(old.close(_GRACE), name="rocketmq-old-connection")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def duplex(self, method: str, metadata: Any) -> Any:
        """A call that both sides write to (grpc.aio's StreamStreamCall)."""
        return getattr(self._stub, method)(metadata=self._signed(metadata))

    def _signed(self, metadata: Any) -> Any:
        credentials = self.address.credentials
        return metadata if credentials is None else (*metadata, *credentials.metadata())


def check(status: Any, *allowed: int) -> None:
    """Raise what a status means, unless it is OK or allowed."""
    if status.code == definition.Code.OK or status.code in allowed:
        return
    said = status.message.partition("\n")[0][:200]
    name = definition.Code.Name(status.code) if status.code in definition.Code.values() else "unknown"
    if status.code in (definition.Code.UNAUTHORIZED, definition.Code.FORBIDDEN):
        raise NotAllowed("RocketMQ", said, status.code)
    text = f"RocketMQ says {name} ({status.code}): {said}"
    if status.code == definition.Code.TOPIC_NOT_FOUND:
        raise TopicMissing(text, status.code)
    if status.code == definition.Code.LITE_TOPIC_QUOTA_EXCEEDED:
        raise TooManyLiteTopics(f"{text}; raise maxLmqConsumeQueueNum in broker.conf", status.code)
    if status.code in _PASSING:
        raise RocketAway(text)
    raise RocketError(text, status.code)


def away(error: Any) -> RocketAway:
    """A failed call (an AioRpcError) in Parley's words."""
    if "CERTIFICATE_VERIFY_FAILED" in (error.details() or ""):
        return untrusted("the RocketMQ proxy")
    detail = (error.details() or "").partition("\n")[0][:200]
    return RocketAway(f"the RocketMQ proxy does not answer: {error.code().name.lower()} ({detail})")
