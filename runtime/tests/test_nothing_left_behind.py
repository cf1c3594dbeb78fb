"""When a task ends or parks, this process holds nothing of it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb

from parley_runtime.executor import TaskLog
from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings
from parley_runtime.store import Work
from parley_runtime.task import TaskFold

CARD = pb.AgentCard(name="a", version="1.0.0", capabilities=pb.AgentCapabilities(streaming=True))


class Asks(AgentExecutor):
    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        ended = context.get_user_input() == "end"
        state = pb.TASK_STATE_COMPLETED if ended else pb.TASK_STATE_INPUT_REQUIRED
        await queue.enqueue_event(pb.Task(status=pb.TaskStatus(state=pb.TASK_STATE_WORKING)))
        await queue.enqueue_event(pb.TaskStatusUpdateEvent(status=pb.TaskStatus(state=state)))

    async def cancel(self, context: RequestContext, queue: EventQueue) -> None:
        raise RuntimeError("not this one")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[AgentHost]:
    host = AgentHost(CARD, Asks(), HostSettings(store=f"sqlite:///{tmp_path}/a.db"))
    await host.start()
    yield host
    await host.drain()
    await host.close()


def request(n: int, text: str) -> pb.SendMessageRequest:
    return pb.SendMessageRequest(
        message=pb.Message(message_id=f"{text}{n}", role=pb.ROLE_USER, parts=[pb.Part(text=text)])
    )


@pytest.mark.parametrize("text", ["park", "end"])
async def test_parked_and_ended_tasks_leave_no_object_behind(host: AgentHost, text: str) -> None:
    for n in range(50):
        await host.front.on_message_send(request(n, text), ServerCallContext())
    for n in range(50, 60):
        stream = await host.front.send_stream(request(n, text), ServerCallContext(), None)
        assert [e async for batch in stream for e in batch]
    await asyncio.sleep(0.1)
    gc.collect()
    kept = [o for o in gc.get_objects() if isinstance(o, TaskFold | TaskLog | Work)]
    assert kept == []
    assert host.worker is not None
    assert host.worker.free == host.settings.concurrency
    assert not host.engines.bus._readers


async def test_a_stream_that_its_client_left_holds_nothing(host: AgentHost) -> None:
    task = await host.front.on_message_send(request(0, "park"), ServerCallContext())
    stream = await host.front.subscribe_stream(
        pb.SubscribeToTaskRequest(id=task.id), ServerCallContext(), None
    )
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    assert task.id in host.engines.bus._readers
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.aclose()
    assert not host.engines.bus._readers
