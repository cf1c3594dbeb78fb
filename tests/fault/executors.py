"""Executors for the fault tests: each does something a crash can hurt, and writes what it did to EFFECTS."""

import asyncio
import os
import time

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import InvalidParamsError

from parley_runtime.steps import step


def effect(what: str) -> None:
    """Append one line with this process's id to the effects file, surviving kill -9."""
    with open(os.environ["EFFECTS"], "a") as file:
        file.write(f"{os.getpid()} {what}\n")


async def begin(context: RequestContext, queue: EventQueue) -> TaskUpdater:
    task = pb.Task(id=context.task_id, context_id=context.context_id, history=[context.message])
    task.status.state = pb.TASK_STATE_SUBMITTED
    if context.current_task is None:
        await queue.enqueue_event(task)
    updater = TaskUpdater(queue, context.task_id, context.context_id)
    await updater.start_work()
    return updater


class Counter(AgentExecutor):
    """ "count N MS": N chunks, one every MS milliseconds. Goes on where the stored task ends."""

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        _, count, pause = context.get_user_input().split()
        effect("start")
        done = 0
        if context.current_task is not None and context.current_task.artifacts:
            done = len(context.current_task.artifacts[0].parts)
        updater = await begin(context, queue)
        for n in range(done, int(count)):
            await updater.add_artifact([pb.Part(text=f"{n}")], artifact_id="numbers", append=n > 0)
            await asyncio.sleep(int(pause) / 1000)
        effect("end")
        await updater.complete()

    async def cancel(self, context: RequestContext, queue: EventQueue) -> None:
        effect("cancel")
        await TaskUpdater(queue, context.task_id, context.context_id).cancel()


class Stepper(Counter):
    """Two durable steps with a pause between."""

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        updater = await begin(context, queue)
        first = await step("first", self._once, "first")
        await updater.add_artifact([pb.Part(text=first)], artifact_id="first")
        await asyncio.sleep(1.5)
        second = await step("second", self._once, "second")
        await updater.add_artifact([pb.Part(text=second)], artifact_id="second")
        await updater.complete()

    def _once(self, name: str) -> str:
        effect(name)
        return f"{name} by {os.getpid()}"


class Asker(Counter):
    """Asks which, and completes with the answer."""

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        updater = await begin(context, queue)
        if context.current_task is None:
            question = updater.new_agent_message([pb.Part(text="which?")])
            await updater.requires_input(question)
            return
        effect("answered")
        await updater.add_artifact([pb.Part(text=context.get_user_input())], artifact_id="answer")
        await updater.complete()


class Blocker(Counter):
    """Blocks its event loop, as a synchronous library does."""

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        effect("start")
        updater = await begin(context, queue)
        await asyncio.sleep(0.05)
        time.sleep(3.5)  # noqa: ASYNC251
        await updater.complete()


class Crasher(Counter):
    """Kills its own process each time."""

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        effect("start")
        await begin(context, queue)
        await asyncio.sleep(0.1)
        os.kill(os.getpid(), 9)


class CrashesOnce(Crasher):
    """Declares that it must not be run again after a crash."""

    on_crash = "fail"


class Thrower(Counter):
    """Raises what it is told to, before or after it began a task."""

    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        what = context.get_user_input()
        if what == "protocol":
            raise InvalidParamsError(message="no such city")
        if what == "nothing":
            return
        if what == "message":
            await queue.enqueue_event(
                pb.Message(message_id="r", role=pb.ROLE_AGENT, parts=[pb.Part(text="just this")])
            )
            return
        updater = await begin(context, queue)
        if what == "late-protocol":
            raise InvalidParamsError(message="no such street")
        if what == "open":
            await updater.update_status(pb.TASK_STATE_WORKING)
            return
        raise RuntimeError("out of order")

    async def cancel(self, context: RequestContext, queue: EventQueue) -> None:
        raise RuntimeError("cannot stop this")
