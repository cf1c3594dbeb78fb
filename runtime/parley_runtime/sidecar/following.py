"""One execution at the server behind: the message is sent there, or its task is found again, and followed to its end or its next
question."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from a2a.server.agent_execution import RequestContext
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError

from parley_core.errors import ParleyError
from parley_runtime.executor import TaskLog, failed
from parley_runtime.settings import OnLost
from parley_runtime.sidecar.errors import NotOffered, ServerAway, TaskLost
from parley_runtime.sidecar.ids import theirs
from parley_runtime.sidecar.mirror import Mirror
from parley_runtime.sidecar.server import LocalServer
from parley_runtime.steps import step
from parley_runtime.store import INTERRUPTED, TERMINAL

log = logging.getLogger(__name__)

_PATIENCE = 15.0
"""Seconds for which an execution waits for a server that broke off; then its work is given back."""
_SOON, _SELDOM = 0.1, 2.0
"""Seconds between two looks at a task that no stream tells of: at first, and when nothing happens."""


class Following:
    """One execution of ours at the server behind, written to `events`."""

    def __init__(
        self, server: LocalServer, context: RequestContext, events: TaskLog, on_lost: OnLost
    ) -> None:
        assert context.message is not None, "what is executed is a message"
        self._server = server
        self._context = context
        self._message = context.message
        self._events = events
        self._on_lost = on_lost
        self.mirror = Mirror(events, context.task_id or "", context.context_id or "")
        self.sent = False
        """Whether the server may have begun on the message."""
        self._whole = True  # nothing that was said there has been missed
        self._subscribes = True

    async def run(self) -> None:
        """Return when the task has ended there, or waits for its client. Raises ServerAway or TaskLost when the message is to be
        run again, and what the server answers as an error of the protocol."""
        task = await self._find()
        if self.mirror.done:
            return
        if task is None or self._is_news(task):
            if not await self._may_send():
                return
            if task is not None:
                self.mirror.answering(task)
            await self._read(self._send())
        else:
            self.sent, self._whole = True, False
            await self.mirror.see(task)
        pause = _SOON
        while not self.mirror.done:
            before = self._events.fold.generation
            await self._again()
            if not self.mirror.done:
                await asyncio.sleep(pause)
            pause = _SOON if self._events.fold.generation > before else min(pause * 1.5, _SELDOM)

    async def _find(self) -> pb.Task | None:
        """The task there; None when it has not begun, or is to begin anew."""
        if self.mirror.remote is None:
            return None
        try:
            return await self._server.get(self.mirror.remote.task_id)
        except TaskLost as error:
            ours = self._events.fold.task
            began = bool(ours and ours.history and ours.history[0].message_id == self._message.message_id)
            if self._on_lost == "retry" and began:
                log.warning("%s; its message is sent again", error)
                self.mirror.remote = None
            else:
                why = "the message is not run twice" if began else "cannot go on with it"
                await self._fail(f"The server behind does not know this task any more: {why}.")
            return None

    def _is_news(self, task: pb.Task) -> bool:
        """Whether the server has not had this message yet."""
        if any(one.message_id == self._message.message_id for one in task.history):
            return False
        return task.status.state in INTERRUPTED or (bool(task.history) and task.status.state not in TERMINAL)

    async def _may_send(self) -> bool:
        """Whether the message is sent; else the task has failed. What must not be run twice is not sent twice."""
        if self._on_lost == "retry":
            return True
        await self._server.back(_PATIENCE)
        fresh: list[bool] = []
        await step("sent to the server behind", lambda: fresh.append(True))
        if not fresh:
            await self._fail(
                "The server behind may have begun on this message before: the message is not run twice."
            )
        return bool(fresh)

    async def _fail(self, reason: str) -> None:
        await self._events.enqueue_event(failed(reason))
        self.mirror.done = True

    def _send(self) -> AsyncGenerator[pb.StreamResponse, None]:
        message = theirs(self._message, self.mirror.remote, self._context.context_id or "")
        request = pb.SendMessageRequest(message=message)
        if self._context.metadata:
            request.metadata.update(self._context.metadata)
        if self._context.configuration is not None:
            modes = self._context.configuration.accepted_output_modes
            request.configuration.accepted_output_modes.extend(modes)
        self.sent = True
        return self._server.send(request, tuple(sorted(self._context.requested_extensions)))

    async def _read(self, source: AsyncGenerator[pb.StreamResponse, None]) -> None:
        """Take a stream to its end."""
        try:
            async with aclosing(source) as answers:
                async for answer in answers:
                    if self.mirror.settles(answer) and not self._whole:
                        # What is said last comes last: before it all that was missed.
                        with suppress(ParleyError, A2AError):
                            await self.mirror.see(await self._server.get(answer.status_update.task_id))
                    await self.mirror.take(answer)
                    if self.mirror.done:
                        return
        except ServerAway as error:
            log.info("%s", error)
            self.sent = self.sent and not (error.refused and self.mirror.remote is None)
        self._whole = False

    async def _again(self) -> None:
        """See how the task is now, and follow it again."""
        if self.mirror.remote is None:
            raise ServerAway(f"the server at {self._server.url} broke off before it had named the task")
        await self._server.back(_PATIENCE)
        await self.mirror.see(await self._server.get(self.mirror.remote.task_id))
        if self.mirror.done or not self._server.streams or not self._subscribes:
            return
        try:
            await self._read(self._server.subscribe(self.mirror.remote.task_id))
        except NotOffered:
            self._subscribes = False  # or it has just ended: the next look tells
