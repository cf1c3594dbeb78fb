"""Clients that leave before their answer: who waits for it in their name is let go; what they asked for goes on."""

import asyncio
import contextvars
from types import TracebackType

from starlette.types import Receive

from parley_runtime.bindings.request import ClientGone

_PATIENCE = 1.0
"""Seconds that a call may take before anybody looks whether its client is still there: most are over by then."""


class Attention:
    """`with Attention(receive):` ends with ClientGone when the client leaves while the block waits.

    The body of the request must have been read. Nothing else may receive inside the block.
    """

    __slots__ = ("_gone", "_receive", "_task", "_timer", "_watching")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None
        self._gone = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._watch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        assert self._timer is not None
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._gone and not self._task.uncancel() and (error is None or kind is asyncio.CancelledError):
            raise ClientGone from None

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._watching = loop.create_task(self._leave(), name="call-leave", context=contextvars.Context())

    async def _leave(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self._gone = True
            self._task.cancel()
