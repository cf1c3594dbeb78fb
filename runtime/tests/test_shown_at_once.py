"""A task that is shown before anybody runs it: its first event goes the way of all others."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from a2a.server.context import ServerCallContext
from a2a.types import a2a_pb2 as pb

from parley_runtime.bus import Wake
from parley_runtime.buses.sqlite import SqliteBus
from parley_runtime.front import Front
from parley_runtime.push.service import PushService
from parley_runtime.push.sqlite import SqlOutbox
from parley_runtime.queues.sqlite import SqliteQueue
from parley_runtime.store import Store
from parley_runtime.stores.sqlite import SqliteStore

CARD = pb.AgentCard(name="agent", version="1", capabilities=pb.AgentCapabilities(streaming=True))


class Overheard(SqliteBus):
    """A bus of which all that is published is kept."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store)
        self.published: list[tuple[str, str, Wake]] = []

    def publish(self, task_id: str, context_id: str, wake: Wake) -> None:
        self.published.append((task_id, context_id, wake))
        super().publish(task_id, context_id, wake)


def message(*, at_once: bool) -> pb.SendMessageRequest:
    return pb.SendMessageRequest(
        message=pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part(text="go")]),
        configuration=pb.SendMessageConfiguration(return_immediately=at_once),
    )


@pytest.fixture
async def overheard(stores: tuple[Store, Store], tmp_path: Path) -> AsyncIterator[tuple[Front, Overheard]]:
    """A front on each kind of store, and what it says to its bus."""
    beside = SqliteStore(f"sqlite:///{tmp_path}/beside.db")
    await beside.open()
    bus, push = Overheard(beside), PushService(SqlOutbox(beside), (), give_up=1.0)
    yield Front(CARD, stores[0], bus, SqliteQueue(beside), push, version="1"), bus
    await beside.close()


async def test_its_first_event_is_told_to_the_bus_once_and_as_it_is_in_the_log(
    overheard: tuple[Front, Overheard], stores: tuple[Store, Store]
) -> None:
    front, bus = overheard
    for _ in range(2):  # the second is a repeat
        task = await front.on_message_send(message(at_once=True), ServerCallContext())
    assert isinstance(task, pb.Task)
    [(task_id, context_id, wake)] = bus.published
    assert (task_id, context_id) == (task.id, task.context_id)
    assert list(wake.events) == list(await stores[1].events(task.id, 0))
    assert orjson.loads(wake.events[0].body)["task"]["id"] == task.id


async def test_of_a_task_that_is_not_shown_nothing_is_told_before_its_executor_speaks(
    overheard: tuple[Front, Overheard],
) -> None:
    front, bus = overheard
    await front.submit(message(at_once=False), ServerCallContext())
    assert bus.published == []
