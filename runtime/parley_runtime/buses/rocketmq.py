"""The bus over RocketMQ: the events of a session travel in a lite topic of its own, under one topic of the agent.

Every process sends; those that have readers also receive, each as a consumer group of its own, the sessions that are read
there. A process that receives sends itself a beat each second: when that is not heard, others are asked (by way of the
stand-in) to tell the stand-in too. The stand-in (`fallback`) is always heard as well, and told whatever did not
surely reach the broker.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Protocol

from parley_core.errors import ParleyError
from parley_runtime.bus import Bus, Take, Wake
from parley_runtime.buses import session_message
from parley_runtime.buses.lanes import Item, Lanes, joined
from parley_runtime.buses.readers import Ear
from parley_runtime.rocketmq import names
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.admin import Admin, Group, Topic
from parley_runtime.rocketmq.connection import Connection
from parley_runtime.rocketmq.errors import TooManyLiteTopics
from parley_runtime.rocketmq.lite import LiteConsumer
from parley_runtime.rocketmq.loops import Loops
from parley_runtime.rocketmq.messages import Outgoing, Received
from parley_runtime.rocketmq.presence import Presence
from parley_runtime.rocketmq.producer import Producer

log = logging.getLogger(__name__)

_SENDERS = 32
"""Sessions whose messages are on their way at the same time."""
_BEAT = 1.0
_DEAF = 3.0
"""Seconds without a beat after which nothing is believed to be heard."""
_BOTH = 5.0
"""Seconds for which the stand-in is told too after a process has said that it hears nothing."""
_LINGER = 5.0
"""Seconds for which a session that nobody reads any more is still heard."""
_CLOSING = 2.0
_TIDY, _GONE, _LOOKS = 60.0, 180.0, 3
"""A group whose process has not spoken for _GONE seconds, at _LOOKS looks with _TIDY between them, is removed."""
_DEAF_NOTE = "parley-rocketmq-deaf"


class StandIn(Bus, Protocol):
    """A bus whose ears can be told by others too."""

    def subscribe(self, task_id: str, context_id: str) -> Ear: ...


class RocketBus:
    """See `parley_runtime.bus.Bus`. `host` names this process; `reads`: it has readers (a front); `ttl`: minutes after
    which the broker forgets a session in which nothing more is said."""

    def __init__(
        self,
        address: RocketAddress,
        fallback: StandIn,
        *,
        agent: str,
        host: str,
        reads: bool = True,
        ttl: int = 60,
    ) -> None:
        self._agent = agent
        self._host = host
        self._fallback = fallback
        self._ttl = ttl
        self._topic = names.events(agent)
        self._group = names.front(agent, host)
        self._connection = Connection(address)
        self._producer = Producer(self._connection)
        self._admin = Admin(address)
        self._presence = Presence(agent, "bus")
        self._loops = Loops()
        self._made = False
        self._lite: LiteConsumer | None = None
        if reads:
            self._lite = LiteConsumer(
                self._connection, self._topic, self._group, deliver=self._deliver, active=self._active
            )
        self._ears: dict[str, list[Ear]] = defaultdict(list)
        self._reading: dict[str, dict[str, int]] = {}
        self._unread: dict[str, float] = {}
        self._lanes = Lanes(self._send)
        self._heard_at = 0.0
        self._both_until = 0.0
        self._full_said = False

    async def open(self) -> None:
        await self._fallback.open()
        self._connection.open()
        self._loops.open("rocketmq-bus", self._beat, self._hear_notes, *[self._lanes.run] * _SENDERS)
        if self._lite is not None:
            self._loops.open("rocketmq-bus", self._forget, self._tidy)

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await self._lanes.emptied()
        await self._loops.close()
        self._hand_over()
        if self._lite is not None:
            await self._lite.close()
            with contextlib.suppress(ParleyError, TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await self._admin.remove(groups=[self._group])
        await self._connection.close()
        await self._fallback.close()

    def status(self) -> str:
        said = [self._fallback.status()]
        if self._presence.reason:
            said.insert(0, f"events are told through the store: {self._presence.reason}")
        elif self._is_deaf():
            said.insert(0, "events are heard through the store: nothing comes from RocketMQ")
        return "; ".join(filter(None, said))

    # -- publishing

    def publish(self, task_id: str, context_id: str, wake: Wake) -> None:
        if self._presence.away:
            return self._fallback.publish(task_id, context_id, wake)
        taken = self._lanes.offer(context_id, (task_id, wake))
        if not taken or asyncio.get_running_loop().time() < self._both_until:
            self._fallback.publish(task_id, context_id, wake)
        else:
            self._tell(task_id, wake)

    def _tell(self, task_id: str, wake: Wake) -> None:
        for ear in self._ears.get(task_id, ()):
            ear.hear(wake)

    async def _send(self, context_id: str, items: Sequence[Item]) -> None:
        if self._presence.away:
            return self._stand_in(context_id, items)
        lite = names.session(context_id)
        try:
            for task_id, wake in joined(items):
                for body in session_message.encode(self._agent, self._host, task_id, context_id, wake):
                    await self._producer.send([Outgoing(self._topic, body, lite=lite)])
        except TooManyLiteTopics as error:
            if not self._full_said:
                self._full_said = True
                log.warning("new sessions go without RocketMQ: %s", error)
            self._stand_in(context_id, items)
        except ParleyError as error:
            self._fail(str(error))

    def _fail(self, reason: str) -> None:
        """The broker is away: whatever waits, or is on its way and may not arrive, goes by the stand-in now."""
        self._made = False
        self._presence.leave(reason)
        self._hand_over()

    def _hand_over(self) -> None:
        for context_id, items in self._lanes.take_back():
            self._stand_in(context_id, items)

    def _stand_in(self, context_id: str, items: Sequence[Item]) -> None:
        for task_id, wake in items:
            self._fallback.publish(task_id, context_id, wake)

    # -- reading

    def subscribe(self, task_id: str, context_id: str) -> "_Subscription":
        ear = self._fallback.subscribe(task_id, context_id)
        self._ears[task_id].append(ear)
        lite = names.session(context_id)
        if self._lite is not None:
            reading = self._reading.setdefault(lite, {})
            reading[task_id] = reading.get(task_id, 0) + 1
            self._unread.pop(lite, None)
            self._lite.subscribe(lite)
        return _Subscription(self, ear, task_id, lite)

    def drop(self, ear: Ear, task_id: str, lite: str) -> None:
        """A subscription ends."""
        ears = self._ears.get(task_id, [])
        if ear not in ears:
            return
        ears.remove(ear)
        if not ears:
            del self._ears[task_id]
        reading = self._reading.get(lite)
        if reading is not None:
            reading[task_id] -= 1
            if not reading[task_id]:
                del reading[task_id]
            if not reading:
                self._unread[lite] = asyncio.get_running_loop().time()

    def _deliver(self, messages: Sequence[Received]) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        for message in messages:
            if message.lite not in self._reading:
                continue  # a beat, or a session that was let go
            try:
                said = session_message.decode(message.body)
            except ValueError as error:
                log.warning("a message in %s is not ours: %s", self._topic, error)
                continue
            if said.sender != self._host:  # our own readers have been told
                self._tell(said.task_id, said.wake)

    def _active(self, lites: Collection[str]) -> None:
        for lite in lites:
            for task_id in self._reading.get(lite, ()):
                self._tell(task_id, Wake())

    async def _forget(self) -> None:
        """Let sessions go that nobody reads any more."""
        assert self._lite is not None
        while True:
            await asyncio.sleep(1.0)
            long_ago = asyncio.get_running_loop().time() - _LINGER
            for lite in [lite for lite, since in self._unread.items() if since < long_ago]:
                del self._unread[lite]
                del self._reading[lite]
                self._lite.unsubscribe(lite)

    # -- knowing how it stands

    async def _beat(self) -> None:
        """Each second, when there is something to learn from it, send a beat: through it a broker that is away is
        seen, and seen to be back, and a subscription that hears nothing."""
        loop = asyncio.get_running_loop()
        beat = names.beat(self._host)
        while True:
            began = loop.time()
            if self._lite is not None or self._presence.away:
                try:
                    await self._make()
                    await self._producer.send([Outgoing(self._topic, b"beat", lite=beat)])
                    self._presence.back()
                except ParleyError as error:
                    self._fail(str(error))
            if self._lite is not None and self._is_deaf():
                self._fallback.publish(_DEAF_NOTE, "", Wake())
                self._lite.repeat()
            await asyncio.sleep(max(0.0, began + _BEAT - loop.time()))

    async def _make(self) -> None:
        if self._made:
            return
        groups = [Group(self._group, lite=self._topic)] if self._lite is not None else []
        await self._admin.make([Topic(self._topic, "LITE", 1, self._ttl)], groups)
        self._made = True
        if self._lite is not None and not self._lite.opened:
            self._lite.subscribe(names.beat(self._host))
            self._lite.open()

    def _is_deaf(self) -> bool:
        return self._lite is not None and asyncio.get_running_loop().time() - self._heard_at > _DEAF

    async def _hear_notes(self) -> None:
        """While some process hears nothing from the broker, the stand-in is told everything too."""
        ear = self._fallback.subscribe(_DEAF_NOTE, "")
        try:
            while True:
                if await ear.next(60.0) is not None:
                    self._both_until = asyncio.get_running_loop().time() + _BOTH
        finally:
            ear.close()

    async def _tidy(self) -> None:
        """Remove the groups that processes left behind when they died."""
        looks: dict[str, int] = {}
        while True:
            await asyncio.sleep(_TIDY)
            with contextlib.suppress(ParleyError):
                now_gone = await self._silent_groups()
                looks = {group: looks.get(group, 0) + 1 for group in now_gone}
                dead = [group for group, seen in looks.items() if seen >= _LOOKS]
                if dead:
                    await self._admin.remove(groups=dead)
                    log.info("removed %d consumer groups that processes left behind", len(dead))

    async def _silent_groups(self) -> list[str]:
        ours = await self._admin.lite_seen(self._topic, self._group)
        others = [
            g for g in await self._admin.groups() if names.is_front(self._agent, g) and g != self._group
        ]
        return [g for g in others if ours - await self._admin.lite_seen(self._topic, g) > _GONE]


class _Subscription:
    """See parley_runtime.bus.Subscription: the stand-in's ear, which the broker's messages reach too."""

    __slots__ = ("_bus", "_ear", "_lite", "_task_id")

    def __init__(self, bus: RocketBus, ear: Ear, task_id: str, lite: str) -> None:
        self._bus = bus
        self._ear = ear
        self._task_id = task_id
        self._lite = lite

    async def next(self, timeout: float, take: Take | None = None) -> Wake | None:
        return await self._ear.next(timeout, take)

    def close(self) -> None:
        self._bus.drop(self._ear, self._task_id, self._lite)
        self._ear.close()
