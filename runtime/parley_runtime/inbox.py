"""The way in over RocketMQ: messages for an agent from programs that speak no HTTP (docs/rocketmq.md has the format).

Whoever may write to the agent's inbox topic may submit; all that comes is owned by one owner, who is set. A message
is acknowledged after the commit that accepted it, so it may come twice: its messageId makes that one task. What cannot be
taken goes to the agent's dead-letter topic with the reason.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError
from prometheus_client import Counter

from parley_core.errors import ConfigurationError, ParleyError, Unavailable
from parley_runtime.bindings.decode import decode, parse_json
from parley_runtime.dispatch import Call
from parley_runtime.rocketmq import names
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.admin import Admin, Group, Topic
from parley_runtime.rocketmq.connection import Connection
from parley_runtime.rocketmq.consumer import Consumer
from parley_runtime.rocketmq.loops import Loops
from parley_runtime.rocketmq.messages import Outgoing, Received
from parley_runtime.rocketmq.producer import Producer
from parley_runtime.store import Overloaded

log = logging.getLogger(__name__)

MESSAGES = Counter(
    "parley_inbox_messages", "Messages from the RocketMQ inbox by what became of them", ["agent", "outcome"]
)

EXTENSIONS = "A2A-Extensions"
"""Property with the extensions that the sender asks for, separated by commas."""
REASON, FROM = "reason", "inboxMessageId"
"""Properties of a dead letter."""

_AT_ONCE = 16
_INVISIBLE = 30.0
_WAIT = 10.0
_PAUSE = 1.0
_TRIES = 10
"""Deliveries after which a message that makes us fail in some unknown way is a dead letter."""
_REASON_CHARS = 500

Accept = Callable[[pb.SendMessageRequest, ServerCallContext], Awaitable[object]]
"""Accepts a message for which nobody waits; raises the protocol's errors."""


class Inbox:
    """Takes messages from an agent's inbox topic; any number of fronts share it."""

    def __init__(self, address: RocketAddress, agent: str, owner: str, accept: Accept) -> None:
        self._agent = agent
        self._owner = owner
        self._accept = accept
        self._topic, self._dead = names.inbox(agent), names.dead(agent)
        self._connection = Connection(address)
        self._producer = Producer(self._connection)
        self._admin = Admin(address)
        self._consumer = Consumer(self._connection, self._topic, self._topic)
        self._loops = Loops()
        self._problem = "the inbox has not been reached yet"

    @classmethod
    def of(cls, url: str, agent: str, owner: str, accept: Accept) -> "Inbox | None":
        """The inbox that the settings name; None when they name none. Raises ConfigurationError."""
        if not url:
            return None
        if not owner:
            raise ConfigurationError(
                "an inbox needs --inbox-owner: whose tasks the messages become that come through it"
            )
        return cls(RocketAddress.parse(url), agent, owner, accept)

    async def open(self) -> None:
        """Start to take messages, as soon as RocketMQ is there."""
        self._connection.open()
        self._loops.open("inbox", self._run)

    async def close(self) -> None:
        """Take no more; what has not been acknowledged goes to another front."""
        await self._loops.close()
        await self._consumer.close()
        await self._connection.close()

    def status(self) -> str:
        """ "" while all is well; else why nothing comes through the inbox."""
        return self._problem

    async def _run(self) -> None:
        while True:
            try:
                await self._admin.make(
                    [Topic(self._topic, "NORMAL"), Topic(self._dead, "NORMAL", 1)], [Group(self._topic)]
                )
                break
            except ParleyError as error:
                self._away(error)
                await asyncio.sleep(_PAUSE)
        self._consumer.open()
        while True:
            try:
                await self._consumer.session.live.wait()
                messages = await self._consumer.receive(_AT_ONCE, _INVISIBLE, _WAIT)
                self._problem = ""
            except ParleyError as error:
                self._away(error)
                await asyncio.sleep(_PAUSE)
                continue
            await asyncio.gather(*map(self._take, messages))

    def _away(self, error: ParleyError) -> None:
        if not self._problem:
            log.warning("nothing comes through the inbox: %s", error)
        self._problem = f"nothing comes through the inbox: {error}"

    async def _take(self, message: Received) -> None:
        """Accept one message, and settle it with the broker. What the broker does not hear comes again."""
        outcome, back = "accepted", 0.0
        try:
            await self._submit(message)
        except (Unavailable, Overloaded) as error:
            outcome, back = "retried", getattr(error, "retry_after", _PAUSE)
        except A2AError as error:
            outcome = await self._bury(message, f"{type(error).__name__}: {error.message}")
        except Exception as error:
            log.exception("a message of the inbox could not be taken")
            outcome, back = "retried", _PAUSE * message.attempt
            if message.attempt >= _TRIES:
                outcome = await self._bury(message, f"{type(error).__name__}, {_TRIES} times; see the log")
        MESSAGES.labels(self._agent, outcome).inc()
        with contextlib.suppress(ParleyError):
            if outcome == "retried":
                await self._consumer.extend(message, max(back, 0.1))
            else:
                await self._consumer.ack([message])

    async def _submit(self, message: Received) -> None:
        params = decode(pb.SendMessageRequest, parse_json(message.body))
        asked = message.properties.get(EXTENSIONS, "")
        extensions = tuple(sorted(filter(None, (uri.strip() for uri in asked.split(",")))))
        await self._accept(params, Call(self._owner, params.tenant, extensions).context())

    async def _bury(self, message: Received, reason: str) -> str:
        log.warning("a message of the inbox is a dead letter: %s", reason)
        letter = Outgoing(
            self._dead,
            message.body or b"-",
            properties={**message.properties, REASON: reason[:_REASON_CHARS], FROM: message.id},
        )
        try:
            await self._producer.send([letter])
        except ParleyError as error:
            log.warning("a dead letter could not be put away, it is tried again: %s", error)
            return "retried"
        return "dead"
