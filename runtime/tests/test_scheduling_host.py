"""Scheduling as callers of a host see it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb
from prometheus_client import REGISTRY
from stores import Database

from parley_runtime.admission import DEADLINE, PRIORITY
from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings
from parley_runtime.store import Limits, Overloaded

CARD = pb.AgentCard(name="scheduled", version="1.0.0", capabilities=pb.AgentCapabilities(streaming=True))
CALL = ServerCallContext()


class Waits(AgentExecutor):
    """Says that it works, and completes when it is let."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = asyncio.Event()

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        self.begun.append(context.get_user_input())
        await queue.enqueue_event(pb.Task(status=pb.TaskStatus(state=pb.TASK_STATE_WORKING)))
        await self.go.wait()
        status = pb.TaskStatus(state=pb.TASK_STATE_COMPLETED)
        await queue.enqueue_event(pb.TaskStatusUpdateEvent(status=status))

    async def cancel(self, context: RequestContext, queue: EventQueue) -> None:
        """Leaves it to the host to say so."""


@pytest.fixture
def executor() -> Waits:
    return Waits()


@pytest.fixture
async def host(executor: Waits, database: Database) -> AsyncIterator[AgentHost]:
    settings = HostSettings(store=database.url, concurrency=2, lease=0.6, drain=0.1)
    host = AgentHost(CARD, executor, settings)
    await host.start()
    yield host
    executor.go.set()
    await host.drain()
    await host.close()


def request(text: str, **metadata: Any) -> pb.SendMessageRequest:
    message = pb.Message(message_id=text, role=pb.ROLE_USER, parts=[pb.Part(text=text)])
    message.metadata.update({name: value for name, value in metadata.items() if value is not None})
    params = pb.SendMessageRequest(message=message)
    params.configuration.return_immediately = True
    return params


async def send(host: AgentHost, text: str, *, priority: int | None = None, deadline: Any = None) -> pb.Task:
    params = request(text, **{PRIORITY: priority, DEADLINE: deadline})
    answer = await host.front.on_message_send(params, CALL)
    assert isinstance(answer, pb.Task)
    return answer


async def state(host: AgentHost, task: pb.Task) -> pb.TaskStatus:
    return (await host.front.on_get_task(pb.GetTaskRequest(id=task.id), CALL)).status


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.01)


def measured(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"agent": "scheduled", **labels}) or 0.0


async def test_the_urgent_goes_before_what_has_waited_longer(host: AgentHost, executor: Waits) -> None:
    for text in ("one", "two"):
        await send(host, text)
    await until(lambda: len(executor.begun) == 2)
    await send(host, "batch", priority=0)
    await send(host, "ordinary")
    await send(host, "urgent", priority=7)
    await asyncio.sleep(0.1)
    assert len(executor.begun) == 2
    executor.go.set()
    await until(lambda: len(executor.begun) == 5)
    assert executor.begun[2:] == ["urgent", "ordinary", "batch"]


async def test_a_task_beyond_its_deadline_fails_unrun_although_no_place_is_free(
    host: AgentHost, executor: Waits
) -> None:
    failed = measured("parley_tasks_expired_total")
    for text in ("one", "two"):
        await send(host, text)
    await until(lambda: len(executor.begun) == 2)
    late = await send(host, "late", deadline=0.2)
    async with asyncio.timeout(60):
        while (status := await state(host, late)).state != pb.TASK_STATE_FAILED:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert "deadline passed while the task waited" in status.message.parts[0].text
    assert executor.begun == ["one", "two"]
    assert measured("parley_tasks_expired_total") == failed + 1


async def test_a_caller_that_waits_is_told_of_the_deadline(host: AgentHost, executor: Waits) -> None:
    for text in ("one", "two"):
        await send(host, text)
    await until(lambda: len(executor.begun) == 2)
    params = request("late", **{DEADLINE: 0.2})
    params.configuration.return_immediately = False
    async with asyncio.timeout(60):
        task = await host.front.on_message_send(params, CALL)
    assert isinstance(task, pb.Task)
    assert task.status.state == pb.TASK_STATE_FAILED


async def test_concurrency_follows_the_limits_while_the_host_runs(host: AgentHost, executor: Waits) -> None:
    await host.store.set_limits(Limits(concurrency=1))
    assert host.worker is not None
    worker = host.worker
    await until(lambda: worker.room == 1)
    for text in ("one", "two", "three"):
        await send(host, text)
    await until(lambda: len(executor.begun) == 1)
    await asyncio.sleep(0.3)
    assert len(executor.begun) == 1
    await host.store.set_limits(Limits(concurrency=10))
    await until(lambda: len(executor.begun) == 2)
    await asyncio.sleep(0.3)
    assert len(executor.begun) == 2, "the process was started with 2"


async def test_a_newcomer_does_not_pass_those_that_wait_for_the_quota(
    host: AgentHost, executor: Waits
) -> None:
    executor.go.set()
    await host.store.set_limits(Limits(rate=4, burst=1))
    for n in range(6):
        await send(host, f"t{n}")
        await asyncio.sleep(0.05)
    await until(lambda: len(executor.begun) == 6)
    assert executor.begun == [f"t{n}" for n in range(6)]


async def test_the_quota_paces_what_runs(host: AgentHost, executor: Waits) -> None:
    executor.go.set()
    await host.store.set_limits(Limits(rate=5, burst=2))
    began = time.monotonic()
    await asyncio.gather(*(send(host, f"t{n}") for n in range(7)))
    await until(lambda: len(executor.begun) == 7)
    assert 0.9 <= time.monotonic() - began <= 60


async def test_a_message_refused_for_the_backlog_is_counted_and_can_be_sent_again(
    host: AgentHost, executor: Waits
) -> None:
    refused = measured("parley_messages_refused_total")
    for text in ("one", "two"):
        await send(host, text)
    await until(lambda: len(executor.begun) == 2)
    await host.store.set_limits(Limits(backlog=1))
    await send(host, "three")
    with pytest.raises(Overloaded):
        await send(host, "four")
    assert measured("parley_messages_refused_total") == refused + 1
    assert (await send(host, "three")).id, "a repeat of what was accepted is answered"
    executor.go.set()
    await until(lambda: len(executor.begun) == 3)
    await send(host, "four")
    await until(lambda: len(executor.begun) == 4)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_waiting_work_is_measured_by_priority_and_the_quota_too(
    host: AgentHost, executor: Waits
) -> None:
    await host.store.set_limits(Limits(rate=0.001, burst=1))
    for n, priority in enumerate([3, 3, 6]):
        await send(host, f"t{n}", priority=priority)
    await until(lambda: measured("parley_queue_waiting", priority="6") == 1)
    await until(lambda: measured("parley_quota_left") < 1)
    assert measured("parley_queue_waiting", priority="3") == 1
    assert measured("parley_queue_depth") == 2


async def compacted(host: AgentHost, executor: Waits, text: str) -> pb.Task:
    """A task that has ended and whose log has gone; a later one keeps the log of the store from being empty."""
    executor.go.set()
    params = request(text)
    params.configuration.return_immediately = False
    task = await host.front.on_message_send(params, CALL)
    assert isinstance(task, pb.Task)
    executor.go.clear()
    await send(host, f"after {text}")
    await until(lambda: executor.begun[-1] == f"after {text}")
    async with asyncio.timeout(60):
        while not (stored := await host.store.load(task.id)) or stored.log_from == 1:
            await host.store.retain(-1.0, 1e9)
    return task


async def test_a_stream_resumed_where_the_log_has_gone_begins_with_the_task(
    host: AgentHost, executor: Waits
) -> None:
    task = await compacted(host, executor, "one")
    stream = await host.front.subscribe_stream(pb.SubscribeToTaskRequest(id=task.id), CALL, 1)
    events = [event async for batch in stream for event in batch]
    stored = await host.store.load(task.id)
    assert stored is not None
    assert [event.generation for event in events] == [stored.generation]
    assert b'"task":' in events[0].body
    assert b"TASK_STATE_COMPLETED" in events[0].body
    at_the_end = await host.front.subscribe_stream(
        pb.SubscribeToTaskRequest(id=task.id), CALL, stored.generation
    )
    async with asyncio.timeout(60):
        assert [event async for batch in at_the_end for event in batch] == []


async def test_a_message_sent_again_is_answered_with_the_task_although_its_log_has_gone(
    host: AgentHost, executor: Waits
) -> None:
    task = await compacted(host, executor, "one")
    again = request("one")
    again.configuration.return_immediately = False
    async with asyncio.timeout(60):
        answer = await host.front.on_message_send(again, CALL)
        assert isinstance(answer, pb.Task)
        assert (answer.id, answer.status.state) == (task.id, pb.TASK_STATE_COMPLETED)
        stream = await host.front.send_stream(again, CALL, None)
        events = [event async for batch in stream for event in batch]
    assert [b"TASK_STATE_COMPLETED" in event.body for event in events] == [True]


async def test_a_front_alone_fails_what_waits_beyond_its_deadline(database: Database) -> None:
    front = AgentHost(CARD, Waits(), HostSettings(store=database.url, role="front", lease=0.6))  # type: ignore[arg-type]
    await front.start()
    try:
        late = await send(front, "late", deadline=0.2)
        async with asyncio.timeout(60):
            while (await state(front, late)).state != pb.TASK_STATE_FAILED:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await front.drain()
        await front.close()


async def test_a_host_lets_go_of_what_it_need_not_keep(
    database: Database, executor: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_runtime.sweeper._RETAIN", 0.1)
    executor.go.set()
    settings = HostSettings(store=database.url, lease=0.6, retain_events=0.0, retain_tasks=0.0)
    host = AgentHost(CARD, executor, settings)
    await host.start()
    try:
        done = await send(host, "done")
        await until(lambda: len(executor.begun) == 1)
        executor.go.clear()
        running = await send(host, "running")
        async with asyncio.timeout(60):
            while await host.store.load(done.id) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await host.store.load(running.id) is not None
    finally:
        executor.go.set()
        await host.drain()
        await host.close()
