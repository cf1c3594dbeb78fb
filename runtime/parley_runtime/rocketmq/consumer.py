"""Receiving from a topic: each message is this consumer's for an invisible time, and gone once acknowledged."""

import contextlib
import uuid
from collections.abc import Iterable
from itertools import groupby

from parley_runtime.rocketmq.connection import Connection, check
from parley_runtime.rocketmq.messages import Received, received
from parley_runtime.rocketmq.session import Session
from parley_runtime.rocketmq.stubs import definition, service

MOST_AT_ONCE = 32
"""Messages of one receive."""


class Consumer:
    """A member of a consumer group: with several members each message goes to one of them."""

    def __init__(self, connection: Connection, topic: str, group: str) -> None:
        self.session = Session(connection, topic=topic, group=group, client_id=f"{group}@{uuid.uuid4().hex}")

    def open(self) -> None:
        """Begin the session with the proxy."""
        self.session.open()

    async def close(self) -> None:
        """End it. Messages that are neither acknowledged nor given back are delivered again after their time."""
        await self.session.close()

    async def receive(self, limit: int, invisible: float, wait: float) -> list[Received]:
        """Up to `limit` messages, for `invisible` seconds each; none when none came within `wait` seconds (at least
        1; so much later the broker may still hand one out to a caller that is gone). Raises RocketAway, RocketError."""
        return await receive(self.session, limit, invisible, wait)

    async def ack(self, messages: Iterable[Received]) -> int:
        """They are done with. How many were no longer this consumer's. Raises RocketAway, RocketError."""
        return await ack(self.session, messages)

    async def extend(self, message: Received, seconds: float) -> bool:
        """Keep a message for `seconds` from now, under a new handle; 0 gives it back. False when it was no longer
        this consumer's. Raises RocketAway, RocketError."""
        return await extend(self.session, message, seconds)


async def receive(session: Session, limit: int, invisible: float, wait: float) -> list[Received]:
    """See Consumer.receive."""
    request = service.ReceiveMessageRequest(batch_size=min(limit, MOST_AT_ONCE))
    request.group.name = session.group
    request.message_queue.CopyFrom(session.queue())
    request.filter_expression.type = definition.FilterType.TAG
    request.filter_expression.expression = "*"
    request.invisible_duration.FromMilliseconds(int(invisible * 1000))
    request.long_polling_timeout.FromMilliseconds(int(wait * 1000))
    out: list[Received] = []
    responses = session.connection.stream("ReceiveMessage", request, session.metadata, wait + 3.0)
    async with contextlib.aclosing(responses):
        async for response in responses:
            kind = response.WhichOneof("content")
            if kind == "message":
                out.append(received(response.message))
            elif kind == "status" and not out:
                check(response.status, definition.Code.MESSAGE_NOT_FOUND)
    return out


async def ack(session: Session, messages: Iterable[Received]) -> int:
    """See Consumer.ack."""
    lost = 0
    for topic, group in groupby(messages, key=lambda message: message.topic):
        request = service.AckMessageRequest()
        request.group.name, request.topic.name = session.group, topic
        for message in group:
            request.entries.add(
                message_id=message.id, receipt_handle=message.handle, lite_topic=message.lite or None
            )
        response = await session.call("AckMessage", request)
        codes = definition.Code
        check(response.status, codes.MULTIPLE_RESULTS, codes.INVALID_RECEIPT_HANDLE)
        lost += sum(entry.status.code != codes.OK for entry in response.entries)
    return lost


async def extend(session: Session, message: Received, seconds: float) -> bool:
    """See Consumer.extend."""
    request = service.ChangeInvisibleDurationRequest(
        receipt_handle=message.handle, message_id=message.id, lite_topic=message.lite or None
    )
    request.group.name, request.topic.name = session.group, message.topic
    request.invisible_duration.FromMilliseconds(int(seconds * 1000))
    response = await session.call("ChangeInvisibleDuration", request)
    if response.status.code == definition.Code.INVALID_RECEIPT_HANDLE:
        return False
    check(response.status)
    message.handle = response.receipt_handle
    return True
