"""The agent that is measured: one plain a2a-sdk executor, hosted unchanged by both sides.

What it does is said by the message's text: a verb and numbers, as in "chunks 2000 20".
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events.event_queue import EventQueue
from a2a.server.tasks.task_updater import TaskUpdater
from a2a.types import a2a_pb2 as pb

_ARTIFACT = "a"
_BREATH = 32
"""Chunks between two turns of the event loop, as a model's tokens come in packets."""


class BenchAgent(AgentExecutor):
    """Runs the verb that the message names."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        verb, *numbers = context.get_user_input().split()
        if context.current_task is None:
            await event_queue.enqueue_event(_new_task(context))
        assert context.task_id is not None
        assert context.context_id is not None
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        await _VERBS[verb](updater, *map(float, numbers))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.task_id is not None
        assert context.context_id is not None
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


async def _hello(updater: TaskUpdater) -> None:
    await updater.add_artifact([pb.Part(text="Hello, world")], name="greeting")
    await updater.complete()


async def _chunks(updater: TaskUpdater, count: float, size: float) -> None:
    """`count` chunks of `size` bytes as fast as they are taken, then the end."""
    await _fill(updater, count, size)
    await updater.complete()


async def _hold(updater: TaskUpdater, count: float = 0, size: float = 0) -> None:
    """`count` chunks of `size` bytes, then silence until cancelled."""
    await _fill(updater, count, size)
    await asyncio.Event().wait()


async def _park(updater: TaskUpdater) -> None:
    """Ask the user something and let go."""
    await updater.requires_input()


async def _stamps(updater: TaskUpdater, count: float, rate: float) -> None:
    """`count` chunks that say when they were made (nanoseconds), `rate` a second, or as fast as one a turn
    of the event loop (0)."""
    begun = time.monotonic()
    for n in range(int(count)):
        if rate:
            ahead = begun + n / rate - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
        else:
            await asyncio.sleep(0)
        await _chunk(updater, str(time.time_ns()), n)
    await updater.complete()


async def _ticks(updater: TaskUpdater, count: float, rate: float) -> None:
    """As `_stamps`, but each chunk names the process that made it."""
    for n in range(int(count)):
        await _chunk(updater, str(os.getpid()), n)
        await asyncio.sleep(1 / rate)
    await updater.complete()


async def _fill(updater: TaskUpdater, count: float, size: float) -> None:
    text = "x" * int(size)
    for n in range(int(count)):
        if n % _BREATH == 0:
            await asyncio.sleep(0)
        await _chunk(updater, text, n)


async def _chunk(updater: TaskUpdater, text: str, n: int) -> None:
    await updater.add_artifact([pb.Part(text=text)], artifact_id=_ARTIFACT, append=n > 0)


_VERBS: dict[str, Callable[..., Awaitable[None]]] = {
    "hello": _hello,
    "chunks": _chunks,
    "hold": _hold,
    "park": _park,
    "stamps": _stamps,
    "ticks": _ticks,
}


def _new_task(context: RequestContext) -> pb.Task:
    task = pb.Task(
        id=context.task_id,
        context_id=context.context_id,
        status=pb.TaskStatus(state=pb.TASK_STATE_SUBMITTED),
    )
    if context.message is not None:
        task.history.append(context.message)
    return task


def card(url: str) -> pb.AgentCard:
    """The agent's card for a server at `url`."""
    return pb.AgentCard(
        name="bench",
        description="does what the benches ask",
        version="1.0.0",
        supported_interfaces=[
            pb.AgentInterface(url=f"{url}/a2a/jsonrpc", protocol_binding="JSONRPC", protocol_version="1.0")
        ],
        capabilities=pb.AgentCapabilities(streaming=True, push_notifications=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="bench", name="bench", description="does what it is told", tags=["bench"])],
    )
