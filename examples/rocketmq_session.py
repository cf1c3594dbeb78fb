"""Speak with a Parley agent over RocketMQ alone: one message goes in, its session's events come out.

    python rocketmq_session.py "$PARLEY_BUS" coder 'Sort the imports'

The agent needs --bus and, at a front, --inbox and --inbox-owner (docs/rocketmq.md).
Uses the small client that Parley itself uses; any RocketMQ 5 client that reads lite topics does as well.
"""

import asyncio
import json
import sys
import uuid

from parley_core.errors import ParleyError
from parley_runtime.rocketmq import names
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.admin import Admin, Group
from parley_runtime.rocketmq.connection import Connection
from parley_runtime.rocketmq.errors import TopicMissing
from parley_runtime.rocketmq.lite import LiteConsumer
from parley_runtime.rocketmq.messages import Outgoing
from parley_runtime.rocketmq.producer import Producer

ENDS = {
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_REJECTED",
    "MESSAGE",
    "ERROR",
}


async def main(url: str, agent: str, text: str) -> None:
    address = RocketAddress.parse(url)
    connection, admin = Connection(address), Admin(address)
    connection.open()
    producer = Producer(connection)
    try:
        await producer.reach(names.inbox(agent))
        await producer.reach(names.events(agent))
    except TopicMissing:
        await connection.close()
        sys.exit(
            f"{agent} has no inbox here, or no bus: start a front of it with --bus, --inbox and --inbox-owner"
        )
    # A session of our own, and a consumer group of our own: each group gets every event.
    session, group = str(uuid.uuid4()), f"example-{uuid.uuid4().hex[:12]}"
    await admin.make(groups=[Group(group, lite=names.events(agent))])
    ended, seen = asyncio.Event(), 0

    def deliver(messages) -> None:
        nonlocal seen
        for message in messages:
            head, *bodies = message.body.rstrip(b"\n").split(b"\n")
            for about, body in zip(json.loads(head)["events"], bodies):
                if about["generation"] > seen:  # RocketMQ may deliver twice
                    seen = about["generation"]
                    print(seen, body.decode(), flush=True)
                if about["state"] in ENDS:
                    ended.set()

    consumer = LiteConsumer(connection, names.events(agent), group, deliver=deliver)
    consumer.open()
    consumer.subscribe(names.session(session), offset=0)
    message = {
        "messageId": str(uuid.uuid4()),
        "contextId": session,
        "role": "ROLE_USER",
        "parts": [{"text": text}],
    }
    await producer.send([Outgoing(names.inbox(agent), json.dumps({"message": message}).encode())])
    await ended.wait()
    await consumer.close()
    await admin.remove(groups=[group])
    await connection.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: rocketmq_session.py rocketmq://HOST:PORT AGENT TEXT")
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ParleyError as error:
        sys.exit(str(error))
