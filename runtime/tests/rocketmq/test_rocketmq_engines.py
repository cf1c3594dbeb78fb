"""What queue and bus on RocketMQ promise beyond the ports: tokens that outlive a worker, groups and topics that do not stay."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engines.rocketmq import RocketMQ
from parley_runtime.buses import rocketmq as bus_module
from parley_runtime.buses.sqlite import SqliteBus
from parley_runtime.queues.rocketmq import RocketQueue
from parley_runtime.queues.sqlite import SqliteQueue
from parley_runtime.rocketmq import names
from parley_runtime.rocketmq.address import RocketAddress
from parley_runtime.rocketmq.admin import Admin
from parley_runtime.rocketmq.errors import TooManyLiteTopics
from parley_runtime.store import LoggedEvent, Work
from parley_runtime.stores.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).parents[1]))
from engine_pairs import until

pytestmark = pytest.mark.cluster


@pytest.fixture
def address(rocketmq: RocketMQ) -> RocketAddress:
    return RocketAddress.parse(rocketmq.url)


@pytest.fixture
def agent() -> str:
    return f"e{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator["Lone"]:
    lone = Lone(tmp_path)
    yield lone
    for store in lone.stores:
        await store.close()


class Lone:
    """Stores of processes that hear nothing of each other but over RocketMQ."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.stores: list[SqliteStore] = []

    async def __call__(self) -> SqliteStore:
        store = SqliteStore(f"sqlite:///{self._folder}/{len(self.stores)}.db")
        await store.open()
        self.stores.append(store)
        return store


class Worker:
    """A worker's side of a queue."""

    def __init__(self, queue: RocketQueue, places: int) -> None:
        self.queue = queue
        self.places = places
        self.woken = 0
        queue.attend(self._wake, lambda: self.places)

    def _wake(self) -> None:
        self.woken += 1

    def begin(self, task: str) -> None:
        self.places -= 1
        self.queue.begun(work(task))

    def end(self, task: str) -> None:
        self.places += 1
        self.queue.ended(work(task))

    def die(self) -> None:
        """Fault injection: as kill -9, it says nothing to anybody any more."""
        self.queue._connection.call = _never  # type: ignore[method-assign]
        self.queue._connection.stream = _never  # type: ignore[assignment]


async def _never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


def work(task: str) -> Work:
    return Work(task, "c", "o", 1, "message", "1", b"", "", 1, 1, 0.0)


@pytest.fixture
async def queues(address: RocketAddress, agent: str, lone: Lone) -> AsyncIterator[list[RocketQueue]]:
    """Three processes: one that announces, two that work; a token stays with a dead worker for three seconds."""
    made = [
        RocketQueue(address, SqliteQueue(await lone()), agent=agent, version="1", invisible=3.0)
        for _ in range(3)
    ]
    for queue in made:
        await queue.open()
    await until(lambda: not any(queue.status() for queue in made), within=30)
    yield made
    await made[0].remove("1")
    for queue in made:
        await queue.close()


async def test_tokens_go_to_who_has_places(queues: list[RocketQueue]) -> None:
    front, one, two = queues
    full, free = Worker(one, 0), Worker(two, 8)
    await until(lambda: two._consumer is not None and two._consumer.session.live.is_set(), within=20)
    free.woken = 0
    front.announce("1", 5)
    await until(lambda: two._tokens.loose == 5, within=20)
    assert (full.woken, one._tokens.loose) == (0, 0)
    two.nothing()
    full.places, free.places = 8, 0
    one.ended(work("none"))
    front.announce("1", 3)
    await until(lambda: one._tokens.loose + two._tokens.loose == 3, within=20)


async def test_the_token_of_a_worker_that_died_wakes_another_and_that_of_one_that_works_does_not(
    queues: list[RocketQueue],
) -> None:
    front, one, two = queues
    first = Worker(one, 1)
    front.announce("1")
    await until(lambda: one._tokens.loose, within=20)
    first.begin("t1")
    second = Worker(two, 1)
    await until(lambda: two._consumer is not None and two._consumer.session.live.is_set(), within=20)
    second.woken = 0
    await asyncio.sleep(7.0)
    assert second.woken == 0, "the token of an execution that goes on is kept"
    first.die()
    await until(lambda: second.woken, within=15)


async def test_a_token_is_gone_once_its_execution_is_over(queues: list[RocketQueue]) -> None:
    front, one, two = queues
    first = Worker(one, 1)
    front.announce("1")
    await until(lambda: one._tokens.loose, within=20)
    first.begin("t1")
    first.end("t1")
    second = Worker(two, 1)
    await asyncio.sleep(6.0)
    assert (first.woken, second.woken) == (1, 0)


async def test_tokens_that_a_worker_does_not_come_for_are_given_to_another(queues: list[RocketQueue]) -> None:
    front, one, two = queues
    idle = Worker(one, 4)
    front.announce("1", 4)
    await until(lambda: idle.woken and one._tokens.loose, within=20)
    idle.places = 0
    other = Worker(two, 4)
    await until(lambda: other.woken, within=15)


async def test_a_version_of_another_can_be_announced_and_removed(
    queues: list[RocketQueue], address: RocketAddress, agent: str
) -> None:
    front = queues[0]
    front.announce("2")
    name = names.work(agent, "2")
    admin = Admin(address)
    deadline = asyncio.get_running_loop().time() + 20
    while name not in await admin.groups():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    await front.remove("2")
    assert name not in await admin.groups()


def bus(address: RocketAddress, store: SqliteStore, agent: str, host: str, *, reads: bool = True):  # type: ignore[no-untyped-def]
    return bus_module.RocketBus(address, SqliteBus(store), agent=agent, host=host, reads=reads)


async def test_events_reach_a_front_over_rocketmq_alone(
    address: RocketAddress, agent: str, lone: Lone
) -> None:
    back = bus(address, await lone(), agent, "back", reads=False)
    front = bus(address, await lone(), agent, "front")
    for one in (back, front):
        await one.open()
    await until(lambda: not back.status() and not front.status(), within=30)
    ear = front.subscribe("t1", "c")
    heard = await ear.next(10.0)
    assert heard is not None, "woken once it can hear"
    assert list(heard.events) == []
    said = [LoggedEvent(n, b'{"n":%d}' % n, 2, 1.0, 1) for n in range(1, 101)]
    for event in said:
        back.publish("t1", "c", bus_module.Wake([event]))
    log: list[LoggedEvent] = []
    while len(log) < 100:
        wake = await ear.next(10.0)
        assert wake is not None
        log += wake.events
    assert log == said
    ear.close()
    for one in (back, front):
        await one.close()
    assert not [g for g in await Admin(address).groups() if names.is_front(agent, g)], (
        "its group went with it"
    )


async def test_sessions_that_the_broker_has_no_room_for_go_by_the_store(
    address: RocketAddress, agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    store = SqliteStore(f"sqlite:///{tmp_path}/s.db")
    await store.open()
    back = bus(address, store, agent, "back", reads=False)
    await back.open()
    await until(lambda: not back.status(), within=30)

    async def full(_: object) -> None:
        """Fault injection: what a broker says that has a quota of lite topics, and no more of them."""
        raise TooManyLiteTopics("LITE_TOPIC_QUOTA_EXCEEDED", 42901)

    monkeypatch.setattr(back._producer, "send", full)
    monkeypatch.setattr(back._fallback, "publish", lambda task, context, wake: told.append(task))
    back.publish("t1", "c", bus_module.Wake())
    await until(lambda: told == ["t1"])
    assert back.status() == "", "the broker is there, and has room for what it knows"
    await back.close()
    await store.close()


async def test_a_group_that_a_dead_front_left_behind_is_removed(
    address: RocketAddress, agent: str, lone: Lone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_TIDY", 1.0)
    monkeypatch.setattr(bus_module, "_GONE", 4.0)
    dead, alive = bus(address, await lone(), agent, "dead"), bus(address, await lone(), agent, "alive")
    for one in (dead, alive):
        await one.open()
    await until(lambda: not dead.status() and not alive.status(), within=30)
    for loops in (dead._loops, dead._lite._loops):
        await loops.close()
    await dead._lite.session.close()
    admin = Admin(address)
    left = names.front(agent, "dead")
    assert left in await admin.groups()
    deadline = asyncio.get_running_loop().time() + 40
    while left in await admin.groups():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.2)
    assert names.front(agent, "alive") in await admin.groups()
    await alive.close()
    await dead._connection.close()
