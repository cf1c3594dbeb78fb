"""Executors that misbehave: each exchange still ends, says why, and leaves a log that reads back as the same task."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.context import ServerCallContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as a2a

from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings
from parley_runtime.steps import StepError, step
from parley_runtime.task import GENERATION

CARD = pb.AgentCard(name="a", version="1.0.0", capabilities=pb.AgentCapabilities(streaming=True))
Execute = Callable[[RequestContext, EventQueue], Awaitable[None]]
WORKING = pb.TaskStatusUpdateEvent(status=pb.TaskStatus(state=pb.TASK_STATE_WORKING))
COMPLETED = pb.TaskStatusUpdateEvent(status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED))


class Does(AgentExecutor):
    """Executes what it is given."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        await self._execute(context, queue)

    async def cancel(self, context: RequestContext, queue: EventQueue) -> None:
        raise RuntimeError("not this one")


@asynccontextmanager
async def hosting(tmp_path: Path, execute: Execute) -> AsyncIterator[AgentHost]:
    host = AgentHost(CARD, Does(execute), HostSettings(store=f"sqlite:///{tmp_path}/a.db", drain=0.1))
    await host.start()
    try:
        yield host
    finally:
        await host.drain()
        await host.close()


def request(text: str = "go", *, at_once: bool = False) -> pb.SendMessageRequest:
    return pb.SendMessageRequest(
        message=pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part(text=text)]),
        configuration=pb.SendMessageConfiguration(return_immediately=at_once),
    )


async def answer(host: AgentHost, seconds: float = 60) -> pb.Task:
    async with asyncio.timeout(seconds):
        task = await host.front.on_message_send(request(), ServerCallContext())
    assert isinstance(task, pb.Task)
    return task


def artifact(name: str, *, append: bool, text: str = "x") -> pb.TaskArtifactUpdateEvent:
    return pb.TaskArtifactUpdateEvent(
        artifact=pb.Artifact(artifact_id=name, parts=[pb.Part(text=text)]), append=append
    )


async def test_an_executor_in_which_something_else_was_cancelled_fails_its_task(tmp_path: Path) -> None:
    async def execute(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(WORKING)
        helper = asyncio.ensure_future(asyncio.sleep(30))
        asyncio.get_running_loop().call_later(0.05, helper.cancel)
        await helper

    async with hosting(tmp_path, execute) as host:
        task = await answer(host)
        assert task.status.state == pb.TASK_STATE_FAILED
        assert "CancelledError" in task.status.message.parts[0].text


async def test_an_executor_that_cancels_its_own_execution_is_run_again_a_few_times(tmp_path: Path) -> None:
    runs: list[int] = []

    async def execute(context: RequestContext, queue: EventQueue) -> None:
        runs.append(1)
        await queue.enqueue_event(WORKING)
        own = asyncio.current_task()
        assert own is not None
        own.cancel()
        await asyncio.sleep(1)

    async with hosting(tmp_path, execute) as host:
        task = await answer(host)
        assert task.status.state == pb.TASK_STATE_FAILED
        assert len(runs) == host.settings.max_attempts


async def test_an_executor_that_calls_sys_exit_fails_its_task_and_not_the_host(tmp_path: Path) -> None:
    async def execute(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(WORKING)
        raise SystemExit(3)

    async with hosting(tmp_path, execute) as host:
        task = await answer(host)
        assert task.status.state == pb.TASK_STATE_FAILED
        assert "SystemExit" in task.status.message.parts[0].text


async def test_many_tasks_of_an_executor_may_emit_at_once_and_faster_than_the_store(tmp_path: Path) -> None:
    async def execute(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(WORKING)

        async def emit(name: str) -> None:
            await queue.enqueue_event(artifact(name, append=False))
            for _ in range(600):
                await queue.enqueue_event(artifact(name, append=True))

        await asyncio.gather(*(emit(f"a{n}") for n in range(6)))
        await queue.enqueue_event(COMPLETED)

    async with hosting(tmp_path, execute) as host:
        task = await answer(host, 20)
        assert task.status.state == pb.TASK_STATE_COMPLETED
        assert [len(a.parts) for a in task.artifacts] == [601] * 6


async def test_a_refused_first_event_leaves_no_hole_in_the_log(tmp_path: Path) -> None:
    async def execute(context: RequestContext, queue: EventQueue) -> None:
        try:
            await queue.enqueue_event(artifact("none", append=True))
        except Exception:
            await queue.enqueue_event(WORKING)
            await queue.enqueue_event(COMPLETED)

    async with hosting(tmp_path, execute) as host:
        task = await answer(host)
        assert task.status.state == pb.TASK_STATE_COMPLETED
        events = await host.store.events(task.id, 0)
        assert events[0].body.startswith(b'{"task":')
        assert task.metadata[GENERATION] == len(events) == 3


async def test_a_long_log_is_replayed_at_once(tmp_path: Path) -> None:
    async def execute(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(WORKING)
        await queue.enqueue_event(artifact("a", append=False))
        for _ in range(6000):
            await queue.enqueue_event(artifact("a", append=True))
        await queue.enqueue_event(COMPLETED)

    async with hosting(tmp_path, execute) as host:
        task = await answer(host, 30)
        began = asyncio.get_running_loop().time()
        stream = await host.front.subscribe_stream(
            pb.SubscribeToTaskRequest(id=task.id), ServerCallContext(), 0
        )
        generations = [event.generation async for batch in stream for event in batch]
        assert generations == list(range(1, 6005))
        assert asyncio.get_running_loop().time() - began < 1.5


async def test_one_step_name_twice_in_a_turn_is_refused_rather_than_mixed_up(tmp_path: Path) -> None:
    seen: list[object] = []

    async def execute(context: RequestContext, queue: EventQueue) -> None:
        seen.append(await step("same", lambda: 1))
        try:
            seen.append(await step("same", lambda: 2))
        except StepError as error:
            seen.append(str(error))
        await queue.enqueue_event(COMPLETED)

    async with hosting(tmp_path, execute) as host:
        await answer(host)
        assert seen[0] == 1
        assert "same" in str(seen[1])


class CancelsBadly(Does):
    """Lets through the cancellation of what it stopped."""

    async def cancel(self, context: RequestContext, queue: EventQueue) -> None:
        part = asyncio.ensure_future(asyncio.sleep(30))
        await asyncio.sleep(0)
        part.cancel()
        await part


async def test_a_cancel_in_which_something_was_cancelled_is_a_refusal_and_the_task_goes_on(
    tmp_path: Path,
) -> None:
    go_on = asyncio.Event()

    async def execute(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(WORKING)
        await go_on.wait()
        await queue.enqueue_event(COMPLETED)

    settings = HostSettings(store=f"sqlite:///{tmp_path}/a.db", drain=0.1)
    host = AgentHost(CARD, CancelsBadly(execute), settings)
    await host.start()
    try:
        task = await host.front.on_message_send(request(at_once=True), ServerCallContext())
        assert isinstance(task, pb.Task)
        async with asyncio.timeout(60):
            with pytest.raises(a2a.TaskNotCancelableError):
                await host.front.on_cancel_task(pb.CancelTaskRequest(id=task.id), ServerCallContext())
        go_on.set()
        assert (await answer(host)).status.state == pb.TASK_STATE_COMPLETED
    finally:
        await host.drain()
        await host.close()


async def test_a_refused_cancel_of_a_chatty_task_is_told_at_once(tmp_path: Path) -> None:
    async def execute(context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(artifact("a", append=False))
        while True:
            await queue.enqueue_event(artifact("a", append=True))
            await asyncio.sleep(0)

    async with hosting(tmp_path, execute) as host:
        task = await host.front.on_message_send(request(at_once=True), ServerCallContext())
        assert isinstance(task, pb.Task)
        async with asyncio.timeout(60):
            for _ in range(3):
                with pytest.raises(a2a.TaskNotCancelableError):
                    await host.front.on_cancel_task(pb.CancelTaskRequest(id=task.id), ServerCallContext())


async def test_a_store_that_is_away_for_long_costs_a_running_task_no_attempt(tmp_path: Path) -> None:
    runs: list[int] = []
    often = asyncio.Event()

    async def execute(context: RequestContext, queue: EventQueue) -> None:
        runs.append(1)
        if len(runs) == 4:
            often.set()
        await queue.enqueue_event(WORKING)
        await queue.enqueue_event(artifact(f"big{len(runs)}", append=False, text="x" * 300_000))
        await queue.enqueue_event(COMPLETED)

    settings = HostSettings(
        store=f"sqlite:///{tmp_path}/a.db", drain=0.1, max_attempts=2, lease=0.6, inline_limit=1 << 20
    )
    host = AgentHost(CARD, Does(execute), settings)
    await host.start()
    try:
        assert host.store._writer is not None
        # Fault injection: the file may not grow, as on a full disk, while small writes still find a place.
        lanes = [host.store._writer._eager, host.store._writer._patient._connection]
        await host.store.write(lambda c: c.execute("CREATE TABLE filler(x)"))
        for lane in lanes:
            lane.execute(f"PRAGMA max_page_count={lane.execute('PRAGMA page_count').fetchone()[0] + 20}")
        sending = asyncio.create_task(answer(host, 20))
        async with asyncio.timeout(60):
            await often.wait()
        for lane in lanes:
            lane.execute("PRAGMA max_page_count=1000000")
        task = await sending
        assert task.status.state == pb.TASK_STATE_COMPLETED
        assert len(runs) < 8
    finally:
        await host.drain()
        await host.close()
