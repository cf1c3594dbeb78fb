"""The queue over RocketMQ: for each entry of work a token in the priority topic of agent@version.

A token says "one more entry", not which: a worker that gets one asks the store. It stays unacknowledged, and is extended,
while the execution that came with it runs; so when a worker dies the broker wakes another by itself. All that matters is
in the store: lost tokens cost a second, tokens too many a look. While the broker is away, announcements go the way of the
stand-in (`fallback`), which workers always hear as well; cancels and changed limits always go that way.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

from parley_core.errors import ParleyError
from parley_runtime.queue import Queue
from parley_runtime.queues.tokens import Token, Tokens
from parley_runtime.rocketmq import names
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.admin import Admin, Group, Topic
from parley_runtime.rocketmq.connection import Connection
from parley_runtime.rocketmq.consumer import Consumer
from parley_runtime.rocketmq.errors import RocketError, TopicMissing
from parley_runtime.rocketmq.loops import Loops
from parley_runtime.rocketmq.messages import Outgoing
from parley_runtime.rocketmq.presence import Presence
from parley_runtime.rocketmq.producer import MOST_AT_ONCE, Producer
from parley_runtime.store import HIGHEST, Work

log = logging.getLogger(__name__)

_MOST_WAITING = 1024
"""Tokens of a version and priority that wait to be sent: with so many every worker is woken anyway."""
_WAIT = 10.0
_PROBES = (0.25, 0.5, 1.0)
_CLOSING = 2.0
_SENDS = 8
"""Versions and priorities announced at the same time."""


class RocketQueue:
    """See `parley_runtime.queue.Queue`. `invisible`: seconds after which the token of a dead worker wakes another."""

    def __init__(
        self, address: RocketAddress, fallback: Queue, *, agent: str, version: str, invisible: float = 15.0
    ) -> None:
        self._agent = agent
        self._version = version
        self._fallback = fallback
        self._invisible = invisible
        self._connection = Connection(address)
        self._producer = Producer(self._connection)
        self._admin = Admin(address)
        self._consumer: Consumer | None = None
        self._presence = Presence(agent, "queue")
        self._loops = Loops()
        self._made: set[str] = set()
        self._waiting: dict[tuple[str, int], int] = defaultdict(int)
        self._some = asyncio.Event()
        self._wake: Callable[[], None] | None = None
        self._places: Callable[[], int] = lambda: 0
        self._room = asyncio.Event()
        self._tokens = Tokens()
        self._to_ack = asyncio.Event()
        self._deaf = ""

    async def open(self) -> None:
        await self._fallback.open()
        self._connection.open()
        self._loops.open(
            "rocketmq-queue", self._probe, self._send, self._receive, self._extend, self._acknowledge
        )

    async def close(self) -> None:
        await self._loops.close()
        with contextlib.suppress(ParleyError, TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await self._settle(self._tokens.take_done())
                await self._give_back(self._tokens.take_all())
                if self._consumer is not None:
                    await self._consumer.close()
        await self._connection.close()
        await self._fallback.close()

    async def remove(self, version: str) -> None:
        """See Queue.remove: the topic and group of a version. Raises RocketAway, RocketError."""
        self._made.discard(version)
        name = names.work(self._agent, version)
        await self._admin.remove([name], [name])

    def status(self) -> str:
        said = [self._fallback.status()]
        if self._presence.reason:
            said.insert(0, f"work is announced through the store: {self._presence.reason}")
        elif self._deaf:
            said.insert(0, f"this worker looks for work in the store: {self._deaf}")
        return "; ".join(filter(None, said))

    # -- announcing

    def announce(self, version: str, count: int = 1, *, priority: int = 0) -> None:
        if self._presence.away:
            self._fallback.announce(version, count, priority=priority)
            return
        key = (version, priority)
        self._waiting[key] = min(self._waiting[key] + count, _MOST_WAITING)
        self._some.set()

    def nudge(self) -> None:
        self._fallback.nudge()

    async def _send(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            batch = list(self._waiting.items())
            self._waiting.clear()
            for start in range(0, len(batch), _SENDS):
                part = batch[start : start + _SENDS]
                await asyncio.gather(*(self._tell(*key, count) for key, count in part))

    async def _tell(self, version: str, priority: int, count: int) -> None:
        """Send tokens; what does not surely arrive is announced the stand-in's way too."""
        if self._presence.away:
            return self._fallback.announce(version, count, priority=priority)
        topic = names.work(self._agent, version)
        token = Outgoing(topic, b"work", priority=priority)
        try:
            await self._make(version)
            while count > 0:
                part = min(count, MOST_AT_ONCE)
                await self._producer.send([token] * part)
                count -= part
        except TopicMissing as error:
            self._made.discard(version)
            log.info("the queue of %s %s is made again: %s", self._agent, version, error)
            self._fallback.announce(version, count, priority=priority)
        except ParleyError as error:
            self._presence.leave(str(error))
            self._fallback.announce(version, count, priority=priority)

    async def _make(self, version: str) -> None:
        if version not in self._made:
            name = names.work(self._agent, version)
            await self._admin.make([Topic(name, "PRIORITY", HIGHEST + 1)], [Group(name)])
            self._made.add(version)

    async def _probe(self) -> None:
        """While RocketMQ is away, see whether brokers and proxy are back: our own version's topic is made, and found."""
        failures = 0
        while True:
            if self._presence.away:
                self._made.discard(self._version)
                try:
                    await self._make(self._version)
                    await self._producer.reach(names.work(self._agent, self._version))
                    self._presence.back()
                    failures = 0
                except ParleyError as error:
                    self._presence.leave(str(error))
                    failures += 1
            await asyncio.sleep(_PROBES[min(failures, len(_PROBES) - 1)])

    # -- working

    def attend(self, wake: Callable[[], None] | None, places: Callable[[], int]) -> None:
        self._wake, self._places = wake, places
        self._fallback.attend(wake, places)
        self._room.set()

    def begun(self, work: Work) -> None:
        self._tokens.bind(work)
        self._fallback.begun(work)

    def ended(self, work: Work) -> None:
        self._tokens.release(work)
        self._to_ack.set()
        self._room.set()
        self._fallback.ended(work)

    def nothing(self) -> None:
        self._tokens.spent()
        self._to_ack.set()
        self._room.set()
        self._fallback.nothing()

    async def _receive(self) -> None:
        """As many tokens as the worker has places; the broker keeps the rest for others."""
        while True:
            room = self._places() - self._tokens.loose
            if self._wake is None or room <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            try:
                messages = await (await self._listening()).receive(room, self._invisible, _WAIT)
            except ParleyError as error:
                self._deaf = str(error)
                if isinstance(error, RocketError):
                    self._made.discard(self._version)  # as if it had been removed
                await asyncio.sleep(_PROBES[-1])
                continue
            self._deaf = ""
            if messages:
                self._tokens.came(messages)
                if self._wake is not None:
                    self._wake()

    async def _listening(self) -> Consumer:
        await self._make(self._version)
        if self._consumer is None:
            name = names.work(self._agent, self._version)
            self._consumer = Consumer(self._connection, name, name)
            self._consumer.open()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBES[-1]):
                    await self._consumer.session.live.wait()
        return self._consumer

    async def _extend(self) -> None:
        """Keep the tokens of what runs; give back those that this worker does not come to look after."""
        while True:
            await asyncio.sleep(self._invisible / 12)
            extend, back = self._tokens.due(self._invisible / 3)
            if self._consumer is None or not (extend or back):
                continue
            for start in range(0, len(extend), MOST_AT_ONCE):
                await asyncio.gather(*map(self._keep, extend[start : start + MOST_AT_ONCE]))
            with contextlib.suppress(ParleyError):
                await self._give_back(back)

    async def _keep(self, token: Token) -> None:
        assert self._consumer is not None
        token.extending = True
        try:
            kept = await self._consumer.extend(token.message, self._invisible)
        except ParleyError as error:
            log.debug("a token could not be extended: %s", error)
            kept = True  # perhaps; a handle that is no longer good shows at the next time
        if kept:
            self._tokens.extended(token)
            self._to_ack.set()
        else:
            self._tokens.lost(token)

    async def _give_back(self, tokens: Sequence[Token]) -> None:
        if self._consumer is not None and tokens:
            await asyncio.gather(*(self._consumer.extend(token.message, 0.0) for token in tokens))

    async def _acknowledge(self) -> None:
        while True:
            await self._to_ack.wait()
            self._to_ack.clear()
            try:
                await self._settle(self._tokens.take_done())
            except ParleyError as error:  # the tokens come again and find nothing
                log.debug("tokens could not be acknowledged: %s", error)

    async def _settle(self, tokens: Sequence[Token]) -> None:
        if self._consumer is not None and tokens:
            await self._consumer.ack(token.message for token in tokens)
