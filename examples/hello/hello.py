"""The smallest agent: an a2a-sdk executor that knows nothing of Parley."""

from a2a.helpers.proto_helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.utils.errors import UnsupportedOperationError


class Hello(AgentExecutor):
    """Greets whoever writes to it."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        name = context.get_user_input().strip() or "world"
        reply = new_text_message(f"Hello, {name}!", context_id=context.context_id)
        await event_queue.enqueue_event(reply)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise UnsupportedOperationError("a greeting is over before it can be canceled")
