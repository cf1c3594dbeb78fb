"""The executor of a sidecar: whatever comes in is done by the server behind, and written into our log as it does it."""

import asyncio
import contextlib
import logging

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb

from parley_core.errors import ConfigurationError, ParleyError
from parley_runtime.executor import Again, TaskLog
from parley_runtime.settings import OnLost
from parley_runtime.sidecar.errors import ServerAway, TaskLost
from parley_runtime.sidecar.following import Following
from parley_runtime.sidecar.ids import remote_of
from parley_runtime.sidecar.mirror import Mirror
from parley_runtime.sidecar.server import LocalServer
from parley_runtime.store import TERMINAL

log = logging.getLogger(__name__)

_BACK = 8.0
"""Seconds for which a request to cancel waits for a server that is away."""
_NAMED = 5.0
"""Seconds for which a request to cancel waits until the server has named the task."""


class Forwarder(AgentExecutor):
    """Forwards to a server. `on_lost`: what becomes of a message whose task the server lost: it is sent again ("retry"), or the
    task fails ("fail")."""

    def __init__(self, server: LocalServer, *, on_lost: OnLost = "retry") -> None:
        self._server = server
        self._on_lost = on_lost
        self._running: dict[str, Following] = {}
        self._watch: asyncio.Task[None] | None = None

    async def start(self, host: object) -> None:
        """Called by the host when it starts: from now on it is known whether the server is there."""
        self._watch = asyncio.create_task(self._server.watch(), name="parley-sidecar")

    async def stop(self) -> None:
        """Called by the host when it has ended."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await self._server.aclose()

    def away(self) -> str:
        """Why nothing can be run now; "" while it can."""
        return self._server.away

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """See `a2a.server.agent_execution.AgentExecutor.execute`."""
        events = _log(event_queue)
        task_id = context.task_id or ""
        following = self._running[task_id] = Following(self._server, context, events, self._on_lost)
        try:
            await following.run()
        except (ServerAway, TaskLost) as error:
            # What the server may have had counts as an attempt, so that a message which ends it is not sent for ever.
            again = Again(str(error)) if following.sent or isinstance(error, TaskLost) else error
            assert isinstance(again, ServerAway | Again)
            events.give_up(again)
            raise again from error
        finally:
            if self._running.get(task_id) is following:
                del self._running[task_id]

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """See `a2a.server.agent_execution.AgentExecutor.cancel`."""
        events = _log(event_queue)
        following = self._running.get(context.task_id or "")
        remote = remote_of(events.fold.task)
        until = asyncio.get_running_loop().time() + _NAMED
        while following is not None and remote is None and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
            remote = following.mirror.remote or remote_of(events.fold.task)
        if remote is None:
            return  # the server has nothing of it
        try:
            task = await self._cancel(remote.task_id)
        except TaskLost:
            return  # nor now
        if task.status.state not in TERMINAL:
            raise ParleyError("the server behind has not canceled it yet")
        if not events.fold.ended:
            await Mirror(events, context.task_id or "", context.context_id or "").see(task)

    async def _cancel(self, remote_id: str) -> pb.Task:
        try:
            return await self._server.cancel(remote_id)
        except ServerAway:
            await self._server.back(_BACK)
        return await self._server.cancel(remote_id)


def _log(event_queue: EventQueue) -> TaskLog:
    if not isinstance(event_queue, TaskLog):
        raise ConfigurationError("a Forwarder runs in an AgentHost only")
    return event_queue
