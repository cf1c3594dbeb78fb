"""The client against a real RocketMQ: what Parley relies on."""

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines.rocketmq import RocketMQ
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.admin import Admin, Group, Topic
from parley_runtime.rocketmq.connection import Connection
from parley_runtime.rocketmq.consumer import Consumer
from parley_runtime.rocketmq.errors import RocketAway, RocketError, TopicMissing
from parley_runtime.rocketmq.lite import LiteConsumer
from parley_runtime.rocketmq.messages import Outgoing, Received
from parley_runtime.rocketmq.producer import Producer

pytestmark = pytest.mark.cluster


@dataclass
class Cluster:
    """A connection, and topics and groups that belong to one test."""

    address: RocketAddress
    connection: Connection
    admin: Admin
    producer: Producer
    work: str
    lite: str
    group: str


async def connect(url: str) -> Cluster:
    address = RocketAddress.parse(url)
    connection, admin, mark = Connection(address), Admin(address), uuid.uuid4().hex[:12]
    connection.open()
    cluster = Cluster(
        address, connection, admin, Producer(connection, deadline=5.0), f"w-{mark}", f"l-{mark}", f"g-{mark}"
    )
    await admin.make(
        [Topic(cluster.work, "PRIORITY", 8), Topic(cluster.lite, "LITE", 1, 30)],
        [Group(cluster.work), Group(cluster.group, lite=cluster.lite)],
    )
    return cluster


@pytest.fixture
async def cluster(rocketmq: RocketMQ) -> AsyncIterator[Cluster]:
    cluster = await connect(rocketmq.url)
    yield cluster
    await cluster.admin.remove([cluster.work, cluster.lite], [cluster.work, cluster.group])
    await cluster.connection.close()


@pytest.fixture
async def consumer(cluster: Cluster) -> AsyncIterator[Consumer]:
    consumer = Consumer(cluster.connection, cluster.work, cluster.work)
    consumer.open()
    await asyncio.wait_for(consumer.session.live.wait(), 20)
    yield consumer
    await consumer.close()


async def collect(
    consumer: Consumer, count: int, invisible: float = 30.0, within: float = 20.0
) -> list[Received]:
    got: list[Received] = []
    deadline = time.monotonic() + within
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count} messages came"
        got += await consumer.receive(count - len(got), invisible, 1.0)
    return got


async def test_what_is_sent_is_received_once_and_gone_when_acknowledged(
    cluster: Cluster, consumer: Consumer
) -> None:
    await cluster.producer.send([Outgoing(cluster.work, b"one", priority=3, properties={"k": "v"})])
    [message] = await collect(consumer, 1, invisible=1.0)
    assert (message.body, message.properties["k"], message.attempt) == (b"one", "v", 1)
    assert await consumer.ack([message]) == 0
    assert await consumer.receive(1, 5.0, 3.0) == []


async def test_an_unacknowledged_message_comes_again_after_its_time(
    cluster: Cluster, consumer: Consumer
) -> None:
    await cluster.producer.send([Outgoing(cluster.work, b"one", priority=3)])
    [first] = await collect(consumer, 1, invisible=2.0)
    [again] = await collect(consumer, 1)
    assert (again.id, again.attempt) == (first.id, 2)


async def test_an_extended_message_stays_away_and_needs_its_new_handle(
    cluster: Cluster, consumer: Consumer
) -> None:
    await cluster.producer.send([Outgoing(cluster.work, b"one", priority=3)])
    [message] = await collect(consumer, 1, invisible=2.0)
    for _ in range(3):
        handle = message.handle
        assert await consumer.extend(message, 3.0)
        assert message.handle != handle
        assert await consumer.receive(1, 5.0, 1.5) == []
    assert await consumer.ack([message]) == 0


async def test_a_message_given_back_comes_at_once(cluster: Cluster, consumer: Consumer) -> None:
    await cluster.producer.send([Outgoing(cluster.work, b"one", priority=3)])
    [message] = await collect(consumer, 1, invisible=60.0)
    assert await consumer.extend(message, 0.0)
    [again] = await collect(consumer, 1, within=10.0)
    assert again.id == message.id


async def test_higher_priorities_come_first(cluster: Cluster, consumer: Consumer) -> None:
    for priority in (0, 7, 3, 5):
        for _ in range(3):
            await cluster.producer.send([Outgoing(cluster.work, b"x", priority=priority)])
    got = [await collect(consumer, 1) for _ in range(12)]
    assert [m.priority for [m] in got] == [7] * 3 + [5] * 3 + [3] * 3 + [0] * 3


async def test_two_members_of_a_group_share_its_messages(cluster: Cluster, consumer: Consumer) -> None:
    other = Consumer(cluster.connection, cluster.work, cluster.work)
    other.open()
    await asyncio.wait_for(other.session.live.wait(), 20)
    for _ in range(5):
        await cluster.producer.send([Outgoing(cluster.work, b"x", priority=3)] * 8)
    mine, theirs = await collect(consumer, 20), await collect(other, 20)
    assert len({m.id for m in [*mine, *theirs]}) == 40
    await other.close()


class Ear:
    """A LiteConsumer, and what it heard."""

    def __init__(self, cluster: Cluster) -> None:
        self.heard: list[tuple[str, bytes, int]] = []
        self.active: list[str] = []
        self._changed = asyncio.Event()
        self.consumer = LiteConsumer(
            cluster.connection, cluster.lite, cluster.group, deliver=self._deliver, active=self._active
        )
        self.consumer.open()

    def _deliver(self, messages: Sequence[Received]) -> None:
        self.heard += [(m.lite, m.body, m.offset) for m in messages]
        self._changed.set()

    def _active(self, lites: Sequence[str]) -> None:
        self.active += lites
        self._changed.set()

    async def until(self, condition: Callable[[], bool], within: float = 20.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def bodies(self, lite: str) -> list[bytes]:
        return [body for name, body, _ in self.heard if name == lite]


@pytest.fixture
async def ear(cluster: Cluster) -> AsyncIterator[Ear]:
    ear = Ear(cluster)
    yield ear
    await ear.consumer.close()


async def say(cluster: Cluster, lite: str, *bodies: bytes) -> None:
    for body in bodies:
        await cluster.producer.send([Outgoing(cluster.lite, body, lite=lite)])


async def test_a_subscriber_hears_what_follows_in_order_and_of_no_other_topic(
    cluster: Cluster, ear: Ear
) -> None:
    await say(cluster, "a", b"before")
    ear.consumer.subscribe("a")
    await ear.until(lambda: ear.active == ["a"])
    bodies = [b"%d" % n for n in range(20)]
    await asyncio.gather(say(cluster, "a", *bodies), say(cluster, "b", b"other"))
    await ear.until(lambda: len(ear.heard) == 20)
    assert ear.bodies("a") == bodies


async def test_a_subscriber_may_begin_at_an_offset(cluster: Cluster, ear: Ear) -> None:
    await say(cluster, "a", b"0", b"1", b"2", b"3")
    await say(cluster, "b", b"0", b"1")
    ear.consumer.subscribe("a", offset=2)
    ear.consumer.subscribe("b", offset=0)
    await ear.until(lambda: len(ear.heard) == 4)
    assert (ear.bodies("a"), ear.bodies("b")) == ([b"2", b"3"], [b"0", b"1"])
    assert sorted(offset for _, _, offset in ear.heard) == [0, 1, 2, 3]


async def test_what_is_unsubscribed_falls_silent_and_can_be_heard_again(cluster: Cluster, ear: Ear) -> None:
    for lite in ("a", "b"):
        ear.consumer.subscribe(lite)
    await ear.until(lambda: set(ear.active) == {"a", "b"})
    ear.consumer.unsubscribe("a")
    await asyncio.sleep(1.0)  # messages of a topic that was let go may still come for a moment
    await say(cluster, "a", b"unheard")
    await say(cluster, "b", b"heard")
    await ear.until(lambda: ear.bodies("b") == [b"heard"])
    assert ear.bodies("a") == []
    ear.consumer.subscribe("a")
    await ear.until(lambda: ear.active.count("a") == 2)
    await say(cluster, "a", b"again")
    await ear.until(lambda: b"again" in ear.bodies("a"))


async def test_a_thousand_lite_topics_are_heard_by_one_consumer(cluster: Cluster, ear: Ear) -> None:
    lites = [f"s{n}" for n in range(1000)]
    for lite in lites:
        ear.consumer.subscribe(lite)
    await ear.until(lambda: len(ear.active) == 1000)
    for lite in lites[::10]:
        await say(cluster, lite, lite.encode())
    await ear.until(lambda: len(ear.heard) == 100)
    assert {lite for lite, _, _ in ear.heard} == set(lites[::10])


async def test_a_group_shows_when_its_client_last_received(cluster: Cluster, ear: Ear) -> None:
    ear.consumer.subscribe("a")
    await ear.until(lambda: ear.active == ["a"])
    await say(cluster, "a", b"x")
    deadline = time.monotonic() + 20
    while abs(time.time() - await cluster.admin.lite_seen(cluster.lite, cluster.group)) > 15:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert {cluster.group, cluster.work} <= await cluster.admin.groups()


async def test_what_was_removed_is_gone_and_may_be_removed_again(cluster: Cluster) -> None:
    await cluster.producer.send([Outgoing(cluster.work, b"x", priority=3)])
    for _ in range(2):
        await cluster.admin.remove([cluster.work], [cluster.work])
    assert cluster.work not in await cluster.admin.groups()
    with pytest.raises((TopicMissing, RocketAway, RocketError)):
        await cluster.producer.send([Outgoing(cluster.work, b"x", priority=3)])


async def test_a_topic_that_is_not_there_is_said_to_be_missing(cluster: Cluster) -> None:
    with pytest.raises(TopicMissing, match="TOPIC_NOT_FOUND"):
        await cluster.producer.send([Outgoing(f"no-{cluster.work}", b"x", priority=3)])


async def test_nobody_at_the_address_is_said_within_the_deadline() -> None:
    address = RocketAddress.parse("rocketmq://127.0.0.1:1?namesrv=127.0.0.1:1")
    connection = Connection(address)
    connection.open()
    began = time.monotonic()
    with pytest.raises(RocketAway, match="does not answer"):
        await Producer(connection).send([Outgoing("t", b"x")])
    with pytest.raises(RocketAway, match="cannot be reached"):
        await Admin(address).make([Topic("t", "NORMAL")])
    assert time.monotonic() - began < 60
    await connection.close()


def test_importing_the_stubs_writes_nothing_into_the_home_directory(tmp_path: Path) -> None:
    script = "import parley_runtime.rocketmq.stubs, sys; assert 'rocketmq' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(240)
async def test_consumers_go_on_by_themselves_after_the_proxy_and_the_broker_were_killed(
    own_rocketmq: Callable[..., RocketMQ],
) -> None:
    server = await asyncio.to_thread(own_rocketmq)
    cluster = await connect(server.url)
    ear, consumer = Ear(cluster), Consumer(cluster.connection, cluster.work, cluster.work)
    consumer.open()
    ear.consumer.subscribe("a")
    await ear.until(lambda: ear.active == ["a"])
    for part in ("proxy", "broker"):
        await asyncio.to_thread(server.kill, part)
        began = time.monotonic()
        with pytest.raises(RocketAway):
            await cluster.producer.send([Outgoing(cluster.work, b"x", priority=3)])
        assert time.monotonic() - began < 60
        await asyncio.to_thread(server.start, part)
        body = f"after {part}".encode()
        deadline = time.monotonic() + 60
        while body not in ear.bodies("a") or not (got := await _try(consumer, cluster)):
            assert time.monotonic() < deadline, (part, ear.heard, consumer.session.problem)
            ear.consumer.repeat()
            await _send(cluster, Outgoing(cluster.lite, body, lite="a"))
            await _send(cluster, Outgoing(cluster.work, b"x", priority=3))
        await consumer.ack(got)
    await consumer.close()
    await ear.consumer.close()
    await cluster.connection.close()


async def _try(consumer: Consumer, cluster: Cluster) -> list[Received]:
    try:
        return await consumer.receive(1, 5.0, 1.0)
    except RocketAway:
        await asyncio.sleep(0.1)
        return []


async def _send(cluster: Cluster, message: Outgoing) -> None:
    try:
        await cluster.producer.send([message])
    except (RocketAway, TopicMissing):
        await asyncio.sleep(0.1)
