"""The executor of a campaign: it does what the message says, and signs all it does with its lease's epoch."""

import asyncio
import os
import time

import orjson
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import a2a_pb2 as pb

from parley_runtime.executor import Steps
from parley_runtime.steps import current_steps, step


class Campaigner(AgentExecutor):
    """`quick`, `count N MS`, `steps N MS`, `ask` and its `answer`, `long`, `reply`.

    Each piece of an artifact is JSON `[what, epoch, execution]`, so that the log shows which lease wrote it.
    Effects outside Parley go to the file EFFECTS, signed likewise.
    """

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        order, *arguments = context.get_user_input().split()
        if order == "reply":
            said = pb.Message(
                message_id=f"reply-{context.task_id}", role=pb.ROLE_AGENT, parts=[_text(context, "reply")]
            )
            return await event_queue.enqueue_event(said)
        sign = Signature(context)
        updater = await self._begin(context, event_queue)
        match order:
            case "quick":
                await updater.add_artifact([sign("quick")], artifact_id="quick")
            case "count":
                await self._count(context, updater, sign, int(arguments[0]), int(arguments[1]) / 1000)
            case "steps":
                await self._steps(updater, sign, int(arguments[0]), int(arguments[1]) / 1000)
            case "ask":
                question = updater.new_agent_message([pb.Part(text="which?")])
                return await updater.requires_input(question)
            case "answer":
                await updater.add_artifact([sign("answer")], artifact_id="answer")
            case "long":
                for _ in range(100):
                    await asyncio.sleep(0.1)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, str(context.task_id), str(context.context_id)).cancel()

    async def _begin(self, context: RequestContext, event_queue: EventQueue) -> TaskUpdater:
        assert context.message is not None
        if context.current_task is None:
            task = pb.Task(id=context.task_id, context_id=context.context_id, history=[context.message])
            task.status.state = pb.TASK_STATE_SUBMITTED
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, str(context.task_id), str(context.context_id))
        await updater.start_work()
        return updater

    async def _count(
        self, context: RequestContext, updater: TaskUpdater, sign: "Signature", count: int, pause: float
    ) -> None:
        """Chunks 0 … count - 1; goes on where the stored task ends."""
        stored = context.current_task
        done = len(stored.artifacts[0].parts) if stored is not None and stored.artifacts else 0
        for n in range(done, count):
            await updater.add_artifact([sign(n)], artifact_id="chunks", append=n > 0)
            await asyncio.sleep(pause)

    async def _steps(self, updater: TaskUpdater, sign: "Signature", count: int, pause: float) -> None:
        for n in range(count):
            kept = await step(f"step-{n}", sign.effect, n)
            await updater.add_artifact([pb.Part(text=kept)], artifact_id=f"step-{n}")
            await asyncio.sleep(pause)


class Signature:
    """Signs what one execution does with its epoch and a name of its own."""

    def __init__(self, context: RequestContext) -> None:
        steps = current_steps.get()
        assert isinstance(steps, Steps)
        self._task = context.task_id
        self._epoch = steps._work.epoch
        self._name = f"{os.getpid()}-{time.monotonic_ns()}"

    def __call__(self, what: int | str) -> pb.Part:
        """A signed piece of an artifact."""
        return pb.Part(text=self._signed(what))

    def effect(self, what: int) -> str:
        """An effect outside Parley, and what is kept of it."""
        line = orjson.dumps([self._task, what, self._epoch, self._name]) + b"\n"
        file = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(file, line)
        finally:
            os.close(file)
        return self._signed(what)

    def _signed(self, what: int | str) -> str:
        return orjson.dumps([what, self._epoch, self._name]).decode()


def _text(context: RequestContext, what: str) -> pb.Part:
    return pb.Part(text=f"{what} to {context.task_id}")
