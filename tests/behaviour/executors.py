"""An a2a-sdk executor that does what the message says, so that a test can ask for any behaviour."""

import asyncio
import json

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import ContentTypeNotSupportedError, TaskNotCancelableError


class Obedient(AgentExecutor):
    """The first word of the message says what to do; the rest is its argument."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        order, _, argument = context.get_user_input().partition(" ")
        if order == "message":
            await event_queue.enqueue_event(
                pb.Message(
                    message_id="answer",
                    context_id=context.context_id,
                    role=pb.ROLE_AGENT,
                    parts=[pb.Part(text=argument)],
                )
            )
            return
        if order == "refuse":
            raise ContentTypeNotSupportedError(message=argument)
        if order == "crash":
            raise RuntimeError(f"secret {argument}")
        updater = await self._begin(context, event_queue)
        match order:
            case "ask":
                await updater.requires_input(updater.new_agent_message([pb.Part(text="which?")]))
            case "login":
                await updater.requires_auth(updater.new_agent_message([pb.Part(text="log in")]))
            case "count":
                count, pause = argument.split()
                for n in range(int(count)):
                    await updater.add_artifact([pb.Part(text=str(n))], artifact_id="numbers", append=n > 0)
                    await asyncio.sleep(int(pause) / 1000)
                await updater.complete()
            case "wait" | "stubborn":
                await asyncio.Event().wait()
            case "fail":
                await updater.failed(updater.new_agent_message([pb.Part(text=argument)]))
            case "reject":
                await updater.reject()
            case "whoami":
                await updater.add_artifact([pb.Part(text=json.dumps(_call(context)))], artifact_id="call")
                await updater.complete()
            case _:
                await updater.add_artifact(list(context.message.parts), artifact_id="echo")
                await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        task = context.current_task
        if task is not None and any("stubborn" in p.text for m in task.history for p in m.parts):
            raise TaskNotCancelableError(message="it will not")
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()

    async def _begin(self, context: RequestContext, event_queue: EventQueue) -> TaskUpdater:
        if context.current_task is None:
            task = pb.Task(id=context.task_id, context_id=context.context_id, history=[context.message])
            task.status.state = pb.TASK_STATE_SUBMITTED
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        return updater


def _call(context: RequestContext) -> dict[str, object]:
    call = context.call_context
    assert call is not None
    return {
        "user": call.user.user_name,
        "tenant": call.tenant,
        "extensions": sorted(call.requested_extensions),
        "headers": dict(call.state.get("headers", {})),
    }
