"""Messages as they go out to RocketMQ and come in from it."""

import itertools
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parley_runtime.rocketmq.stubs import definition

_EPOCH = 1609430400
"""RocketMQ's message ids count seconds from here (the beginning of 2021, eight hours east)."""
_count = itertools.count()
_node = uuid.getnode() & 0xFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. With `lite` it goes to that lite topic under `topic`; with `priority` (0 to 7, a higher one
    is received first) to a PRIORITY topic; with neither to a NORMAL one."""

    topic: str
    body: bytes
    lite: str = ""
    priority: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Received:
    """A message that was received, and is this consumer's until its invisible time is over."""

    topic: str
    id: str
    body: bytes
    lite: str
    offset: int
    """In its queue or lite topic, from 0."""
    attempt: int
    """How often it has been delivered, this time included."""
    properties: Mapping[str, str]
    handle: str
    """What acknowledges it; extending gives it another."""
    priority: int


def outgoing(message: Outgoing) -> Any:
    """The protocol's Message, under a new id."""
    out = definition.Message(body=message.body)
    out.topic.name = message.topic
    system = out.system_properties
    # 0x01, hardware address, process, seconds, counter: RocketMQ's form, and unique without its clocks
    seconds = int(time.time()) - _EPOCH & 0xFFFFFFFF
    system.message_id = (
        f"01{_node:012X}{os.getpid() & 0xFFFF:04X}{seconds:08X}{next(_count) & 0xFFFFFFFF:08X}"
    )
    system.born_timestamp.FromNanoseconds(time.time_ns())
    system.born_host = "parley"
    system.body_encoding = definition.Encoding.IDENTITY
    if message.lite:
        system.message_type, system.lite_topic = definition.MessageType.LITE, message.lite
    elif message.priority is not None:
        system.message_type, system.priority = definition.MessageType.PRIORITY, message.priority
    else:
        system.message_type = definition.MessageType.NORMAL
    for key, value in message.properties.items():
        out.user_properties[key] = value
    return out


def received(message: Any) -> Received:
    """From the protocol's Message."""
    system = message.system_properties
    return Received(
        message.topic.name,
        system.message_id,
        message.body,
        system.lite_topic,
        system.queue_offset,
        system.delivery_attempt,
        dict(message.user_properties),
        system.receipt_handle,
        system.priority,
    )
