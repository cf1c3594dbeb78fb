"""An agent in three versions: each answers with its own version, and the last one is broken."""

import asyncio

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import Part, TaskState
from a2a.utils.errors import UnsupportedOperationError

from parley_runtime.host import AgentHost
from parley_runtime.measures import METRICS


class Greeter(AgentExecutor):
    """Greets, and says which version it is; "wait 2" makes it take two seconds."""

    version = ""

    async def start(self, host: AgentHost) -> None:
        """Called by the host when it starts."""
        self.version = host.card.version

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        words = context.get_user_input().split()
        if words[:1] == ["wait"]:
            await asyncio.sleep(float(words[1]))
        await updater.add_artifact([Part(text=f"Hello from {self.version}")], name="greeting")
        await updater.update_status(TaskState.TASK_STATE_COMPLETED, metadata={METRICS: {"words": len(words)}})

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise UnsupportedOperationError("it is over in a moment")


class Better(Greeter):
    """The next version."""


class Broken(Greeter):
    """A version that fails every second task."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        if int((context.task_id or "0")[-1], 16) % 2:
            raise RuntimeError("half of what this version does goes wrong")
        await super().execute(context, event_queue)
