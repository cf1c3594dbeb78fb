"""An agent whose words are in the registry: it answers with what it would tell a model."""

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import Part
from a2a.utils.errors import UnsupportedOperationError

from parley_runtime.prompts import prompt

DEFAULT = "Review this {{language}} code."


class Prompted(AgentExecutor):
    """Takes the name of a language, and answers with the prompt for it."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        found = await prompt("review", default=DEFAULT)
        text = found.render(language=context.get_user_input().strip())
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        await updater.add_artifact([Part(text=text)], name="prompt")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise UnsupportedOperationError("it is over before it can be canceled")
