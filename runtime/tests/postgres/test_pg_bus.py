"""What a wake-up brings to another process, and what it leaves behind."""

from collections.abc import AsyncIterator

import pytest
from a2a.types import a2a_pb2 as pb

from parley_runtime.bus import Subscription, Wake
from parley_runtime.buses.postgres import PostgresBus
from parley_runtime.store import LoggedEvent
from parley_runtime.stores.postgres import PostgresStore
from parley_runtime.stores.postgres.listener import Listener, Notifier

_COMPLETED = 3
_EVENT = LoggedEvent(4, b'{"statusUpdate":{}}', _COMPLETED, 12.5, 1)


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(postgres_dsn, "a")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def elsewhere(store: PostgresStore) -> AsyncIterator[tuple[PostgresBus, Subscription]]:
    """A bus to publish on, and the ear of another process's reader that hears already."""
    listener, notifier = Listener(store.address), Notifier(store.address)
    publishing, reading = (PostgresBus(listener, notifier, store.address.key) for _ in range(2))
    await notifier.open()
    await listener.open()
    ear = reading.subscribe("t", "c")
    assert await ear.next(5) == Wake()
    yield publishing, ear
    await listener.close()
    await notifier.close()


async def test_the_task_that_an_event_ends_is_heard_with_it(
    elsewhere: tuple[PostgresBus, Subscription],
) -> None:
    bus, ear = elsewhere
    task = pb.Task(id="t", context_id="c", status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED))
    bus.publish("t", "c", Wake([_EVENT], task))
    assert await ear.next(5) == Wake([_EVENT], task)


async def test_a_task_too_large_for_a_notification_stays_away_and_its_event_does_not(
    elsewhere: tuple[PostgresBus, Subscription],
) -> None:
    bus, ear = elsewhere
    task = pb.Task(id="t", artifacts=[pb.Artifact(parts=[pb.Part(text="x" * 9000)])])
    bus.publish("t", "c", Wake([_EVENT], task))
    assert await ear.next(5) == Wake([_EVENT])
