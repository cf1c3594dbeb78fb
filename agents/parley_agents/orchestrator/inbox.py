"""Where children call when their stream is gone: a doorbell, nothing more.

A push says only "look at your task": its content is never read. Whoever rings without a token that we gave
out is ignored, and polling stands behind all of it.
"""

import asyncio
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from a2a.types import a2a_pb2 as pb
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/push/children"
TOKEN_HEADER = "x-a2a-notification-token"
MAX_BODY = 32 * 1024 * 1024


class Inbox:
    """The doorbells of the children that this process follows."""

    def __init__(self) -> None:
        self.url = ""
        self._bells: dict[str, asyncio.Event] = {}

    def reachable_at(self, url: str) -> None:
        """Say where `routes` are reachable from outside; until then no child is asked to push."""
        self.url = f"{url.rstrip('/')}{PATH}"

    @property
    def routes(self) -> list[Route]:
        """For the host to mount."""
        return [Route(PATH, self._ring, methods=["POST"])]

    @contextmanager
    def bell(self, task_id: str) -> Iterator[tuple[asyncio.Event, pb.TaskPushNotificationConfig]]:
        """An event that is set at each call about one child task, and the config to give to the child."""
        token = secrets.token_urlsafe(32)
        bell = self._bells[token] = asyncio.Event()
        # The same id each time: after a restart our new config takes the place of the old one.
        config_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.url}#{task_id}"))
        try:
            yield (
                bell,
                pb.TaskPushNotificationConfig(id=config_id, task_id=task_id, url=self.url, token=token),
            )
        finally:
            del self._bells[token]

    async def _ring(self, request: Request) -> Response:
        size = 0
        async for chunk in request.stream():  # read to its end, so that the sender is not cut off
            size += len(chunk)
            if size > MAX_BODY:
                return Response(status_code=413)
        bell = self._bells.get(request.headers.get(TOKEN_HEADER, ""))
        if bell is not None:
            bell.set()
        return Response(status_code=204)
