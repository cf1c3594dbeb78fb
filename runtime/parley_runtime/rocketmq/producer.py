"""Sending."""

import uuid
from collections.abc import Sequence
from typing import Any

from parley_runtime.rocketmq.connection import Connection, check
from parley_runtime.rocketmq.messages import Outgoing, outgoing
from parley_runtime.rocketmq.stubs import definition, service

MOST_AT_ONCE = 32
"""Messages of one send."""


class Producer:
    """Sends over a connection. Needs no session with the proxy, so there is nothing to keep alive."""

    def __init__(self, connection: Connection, *, deadline: float = 1.5) -> None:
        """`deadline`: seconds after which a send is given up."""
        self._connection = connection
        self._deadline = deadline
        self._metadata = client_metadata(f"parley-{uuid.uuid4().hex}")

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Return when the broker has them all. Several go as one: of one topic, at most MOST_AT_ONCE, none to a lite
        topic (of such a batch the lite topics get nothing); a broker minds the priority of single messages only.

        Raises TopicMissing, TooManyLiteTopics, RocketError; RocketAway: they may or may not have arrived.
        """
        assert len(messages) == 1 or not any(m.lite for m in messages)
        request = service.SendMessageRequest(messages=[outgoing(m) for m in messages])
        response = await self._connection.call("SendMessage", request, self._metadata, self._deadline)
        check(response.status)
        for entry in response.entries:
            check(entry.status)

    async def reach(self, topic: str) -> None:
        """Return when the proxy answers and knows the topic. Raises TopicMissing, RocketAway."""
        await route(self._connection, topic, self._metadata, self._deadline)


async def route(connection: Connection, topic: str, metadata: Any, deadline: float) -> Any:
    """A MessageQueue that stands for all queues of a topic. Raises TopicMissing, RocketAway."""
    request = service.QueryRouteRequest()
    request.topic.name = topic
    request.endpoints.scheme = definition.AddressScheme.DOMAIN_NAME
    request.endpoints.addresses.add(host=connection.address.host, port=connection.address.port)
    response = await connection.call("QueryRoute", request, metadata, deadline)
    check(response.status)
    queue = definition.MessageQueue()
    queue.CopyFrom(response.message_queues[0])
    queue.id = -1
    return queue


def client_metadata(client_id: str) -> tuple[tuple[str, str], ...]:
    """What every call carries."""
    return (
        ("x-mq-client-id", client_id),
        ("x-mq-language", "PYTHON"),
        ("x-mq-client-version", "5.1.2"),
        ("x-mq-protocol", "GRPC_V2"),
        ("x-mq-namespace", ""),
    )
