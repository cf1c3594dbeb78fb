"""An agent that prepares something expensive, asks, and goes on only with a yes.

`step` makes its parts durable on a Parley host: however often the process dies, and however long the answer
takes, each is done once. Without Parley the same code runs; only that promise is gone.
"""

import asyncio

from a2a.helpers.proto_helpers import new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import Task, TaskState, TaskStatus
from parley_runtime.steps import step


class Approval(AgentExecutor):
    """Drafts a letter, asks whether to send it, sends it."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        task_id, context_id = context.task_id, context.context_id
        updater = TaskUpdater(event_queue, task_id, context_id)
        if context.current_task is None:
            working = TaskStatus(state=TaskState.TASK_STATE_WORKING)
            await event_queue.enqueue_event(
                Task(id=task_id, context_id=context_id, status=working, history=[context.message])
            )
            draft = await step("draft", self._draft, context.get_user_input(), scope="task")
            await updater.add_artifact([new_text_part(draft, media_type="text/plain")], name="draft")
            question = new_text_message("Shall I send it? (yes or no)", context_id, task_id)
            await updater.requires_input(question)
        elif context.get_user_input().strip().lower().startswith("y"):
            await updater.start_work()
            receipt = await step("send", self._send)
            await updater.complete(new_text_message(f"Sent; receipt {receipt}.", context_id, task_id))
        else:
            await updater.cancel(new_text_message("Not sent.", context_id, task_id))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()

    async def _draft(self, subject: str) -> str:
        await asyncio.sleep(0.5)  # imagine something slow and dear here
        return f"Dear reader,\n\nthis is about {subject}.\n"

    async def _send(self) -> str:
        await asyncio.sleep(0.1)
        return "A-0001"
