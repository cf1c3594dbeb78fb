"""Lite topics: thousands of small logs under one parent topic, read by one consumer that says which it wants.

What the broker taught (5.5.0): a long poll that is cancelled hides the next message for its whole invisible time, so
there is one receive loop for good; a subscription needs an offset that is said; all wanted topics are said again every
few seconds, because brokers forget; and messages of topics that were let go may still come for a moment.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from parley_core.errors import ParleyError
from parley_runtime.rocketmq.connection import Connection, check
from parley_runtime.rocketmq.consumer import MOST_AT_ONCE, ack, receive
from parley_runtime.rocketmq.loops import Loops
from parley_runtime.rocketmq.messages import Received
from parley_runtime.rocketmq.session import Session
from parley_runtime.rocketmq.stubs import definition, service

log = logging.getLogger(__name__)

_INVISIBLE = 2.0
_WAIT = 20.0
_REPEAT = 10.0
"""Seconds between two times that all wanted topics are said …"""
_REPEAT_EACH = 0.002
"""… and this for each of them."""
_PAUSE = 0.5
_MOST_NAMES = 2000
"""Lite topics named in one call."""


class LiteConsumer:
    """The only member of its consumer group. Messages are acknowledged as they are delivered: at most once after
    `deliver` returned, and again after a broker crash, so whoever cares compares numbers of its own."""

    def __init__(
        self,
        connection: Connection,
        topic: str,
        group: str,
        *,
        deliver: Callable[[Sequence[Received]], None],
        active: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        """`deliver` gets what came, in order within a lite topic; `active` which lite topics are now heard (again:
        something may have been missed before)."""
        self.session = Session(
            connection, topic=topic, group=group, client_id=group, lite=True, on_begin=self._begun
        )
        self._deliver = deliver
        self._active = active
        self._wanted: dict[str, None] = {}
        self._new: dict[str, int | None] = {}
        self._gone: set[str] = set()
        self._acks: list[Received] = []
        self._changed = asyncio.Event()
        self._to_ack = asyncio.Event()
        self._repeat_at = 0.0
        self._loops = Loops()
        self.opened = False

    def open(self) -> None:
        """Begin the session, and receive until `close`."""
        self.opened = True
        self.session.open()
        self._loops.open("rocketmq-lite", self._receive, self._subscribe, self._acknowledge)

    async def close(self) -> None:
        """Stop. (The long poll is cancelled with it: nobody is left to miss anything.)"""
        await self._loops.close()
        await self.session.close()

    def repeat(self) -> None:
        """Say all wanted topics again now (nothing is heard of them)."""
        self._repeat_at = 0.0
        self._changed.set()

    def __contains__(self, lite: str) -> bool:
        """Whether the lite topic is heard."""
        return lite in self._wanted and lite not in self._new

    def subscribe(self, lite: str, offset: int | None = None) -> None:
        """Hear a lite topic, from an offset or (None) from its end; `active` says when."""
        if lite not in self._wanted:
            self._wanted[lite] = None
            self._new[lite] = offset
            self._gone.discard(lite)
            self._changed.set()

    def unsubscribe(self, lite: str) -> None:
        """Hear it no more."""
        if lite in self._wanted:
            del self._wanted[lite]
            if self._new.pop(lite, -1) == -1:
                self._gone.add(lite)
                self._changed.set()

    def _begun(self) -> None:
        self._new |= {lite: None for lite in self._wanted if lite not in self._new}
        self._changed.set()

    async def _receive(self) -> None:
        while True:
            await self.session.live.wait()
            try:
                messages = await receive(self.session, MOST_AT_ONCE, _INVISIBLE, _WAIT)
            except ParleyError as error:
                log.debug("cannot receive from %s: %s", self.session.topic, error)
                await asyncio.sleep(_PAUSE)
                continue
            if messages:
                self._deliver(messages)
                self._acks.extend(messages)
                self._to_ack.set()

    async def _acknowledge(self) -> None:
        while True:
            await self._to_ack.wait()
            self._to_ack.clear()
            messages, self._acks = self._acks, []
            try:
                await ack(self.session, messages)
            except ParleyError as error:  # they come again, which costs no more than that
                log.debug("cannot acknowledge to %s: %s", self.session.topic, error)

    async def _subscribe(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.session.live.wait()
            try:
                async with asyncio.timeout(max(0.0, self._repeat_at - loop.time())):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self._say_changes()
                if loop.time() >= self._repeat_at:
                    await self._say_all()
                    self._repeat_at = loop.time() + _REPEAT + _REPEAT_EACH * len(self._wanted)
            except ParleyError as error:
                log.debug("cannot subscribe at %s: %s", self.session.topic, error)
                self._changed.set()
                await asyncio.sleep(_PAUSE)

    async def _say_changes(self) -> None:
        while fresh := [lite for lite, offset in self._new.items() if offset is None][:_MOST_NAMES]:
            await self._sync(definition.LiteSubscriptionAction.PARTIAL_ADD, fresh)
            self._heard(fresh)
        for lite, offset in [(lite, offset) for lite, offset in self._new.items() if offset is not None]:
            await self._sync(definition.LiteSubscriptionAction.PARTIAL_ADD, [lite], offset)
            self._heard([lite])
        if self._gone:
            gone, self._gone = list(self._gone), set()
            for start in range(0, len(gone), _MOST_NAMES):
                part = gone[start : start + _MOST_NAMES]
                await self._sync(definition.LiteSubscriptionAction.PARTIAL_REMOVE, part)

    def _heard(self, lites: Sequence[str]) -> None:
        for lite in lites:
            self._new.pop(lite, None)
        self._active([lite for lite in lites if lite in self._wanted])

    async def _say_all(self) -> None:
        wanted = [lite for lite in self._wanted if lite not in self._new]
        await self._sync(definition.LiteSubscriptionAction.COMPLETE_ADD, wanted)

    async def _sync(self, action: int, lites: Sequence[str], offset: int | None = None) -> None:
        request = service.SyncLiteSubscriptionRequest(action=action, lite_topic_set=lites)
        request.topic.name, request.group.name = self.session.topic, self.session.group
        if action == definition.LiteSubscriptionAction.PARTIAL_ADD:
            if offset is None:
                request.offset_option.policy = definition.OffsetOption.Policy.MAX
            else:
                request.offset_option.offset = offset
        response = await self.session.call("SyncLiteSubscription", request)
        check(response.status)
