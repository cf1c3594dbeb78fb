"""A worker that lost a lease while it stood still ends that execution, and no other."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb

from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings
from parley_runtime.stores.sqlite import SqliteStore

CARD = pb.AgentCard(name="a", version="1.0.0", capabilities=pb.AgentCapabilities(streaming=True))


class Silent(AgentExecutor):
    """Says that it works, and then nothing for a long time."""

    def __init__(self) -> None:
        self.running: set[str] = set()

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        assert context.task_id is not None
        self.running.add(context.task_id)
        try:
            await queue.enqueue_event(pb.Task(status=pb.TaskStatus(state=pb.TASK_STATE_WORKING)))
            await asyncio.sleep(60)
        finally:
            self.running.discard(context.task_id)

    async def cancel(self, context: RequestContext, queue: EventQueue) -> None:
        raise RuntimeError("not this one")


@pytest.fixture
def silent() -> Silent:
    return Silent()


@pytest.fixture
async def host(silent: Silent, tmp_path: Path) -> AsyncIterator[AgentHost]:
    host = AgentHost(CARD, silent, HostSettings(store=f"sqlite:///{tmp_path}/a.db", lease=0.6, drain=0.0))
    await host.start()
    yield host
    await host.drain()
    await host.close()


@pytest.fixture
async def elsewhere(host: AgentHost, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """The store as another process has it, with a worker of its own that takes what it can."""
    store = SqliteStore(f"sqlite:///{tmp_path}/a.db")
    await store.open()
    await store.register_worker("other", "1.0.0", 30)
    yield store
    await store.close()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def begin(host: AgentHost, count: int) -> list[str]:
    tasks = []
    for n in range(count):
        message = pb.Message(message_id=f"m{n}", role=pb.ROLE_USER, parts=[pb.Part(text="go")])
        request = pb.SendMessageRequest(message=message)
        request.configuration.return_immediately = True
        answer = await host.front.on_message_send(request, ServerCallContext())
        assert isinstance(answer, pb.Task)
        tasks.append(answer.id)
    return tasks


async def test_an_execution_whose_task_another_worker_has_is_ended(
    host: AgentHost, silent: Silent, elsewhere: SqliteStore
) -> None:
    lost, kept = await begin(host, 2)
    await until(lambda: len(silent.running) == 2)
    await elsewhere.release(lost, 1, 1)  # as a sweeper does when the lease has run out
    await elsewhere.take("other", "1.0.0", 10)
    if lost in silent.running:
        await until(lambda: lost not in silent.running)
    assert host.worker is not None
    held = {**await elsewhere.held("other"), **await elsewhere.held(host.worker.name)}
    assert sorted(held) == sorted([lost, kept])
    assert held[kept] == 1
    await asyncio.sleep(1.0)
    assert kept in silent.running


async def test_an_execution_that_this_worker_has_again_goes_on_under_the_later_lease(
    host: AgentHost, silent: Silent, elsewhere: SqliteStore
) -> None:
    [task] = await begin(host, 1)
    await until(lambda: task in silent.running)
    await elsewhere.release(task, 1, 1)
    host.engines.queue.nudge()
    assert host.worker is not None
    async with asyncio.timeout(60):
        while (await elsewhere.held(host.worker.name)).get(task) != 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(1.0)
    assert task in silent.running
    assert host.worker.free == host.settings.concurrency - 1
