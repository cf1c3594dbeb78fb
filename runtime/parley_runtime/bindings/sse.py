"""Server-sent events from the log to the socket: the bytes of an event are passed on as they were stored.

An idle stream is one coroutine and one small object; nothing of its request is kept. One task for all streams sends the
keep-alive comments, and looks which clients have gone.
"""

import asyncio
import contextvars
from collections.abc import Sequence
from typing import Protocol

from a2a.utils.errors import A2AError
from starlette.types import Receive, Scope, Send

from parley_runtime.bindings.guard import Batches, close, translate
from parley_runtime.store import LoggedEvent

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}
_END = {"type": "http.response.body", "body": b"", "more_body": False}
_COMMENT = b": keep-alive\n\n"


class Framing(Protocol):
    """How a binding wraps an event: `head` + body + `tail` as one line of data."""

    @property
    def head(self) -> bytes: ...

    @property
    def tail(self) -> bytes: ...

    def error(self, error: A2AError) -> bytes:
        """The data of an error event, one line."""


def frames(framing: Framing, batch: Sequence[LoggedEvent]) -> bytes:
    """The events of a batch as one piece of a stream, each with its generation as id."""
    head, tail = framing.head, framing.tail
    return b"".join(
        [b"id: %d\ndata: %b%b%b\n\n" % (event.generation, head, event.body, tail) for event in batch]
    )


def _forget(scope: Scope) -> None:
    """Let go of what a long response no longer needs of its request (the server keeps the scope)."""
    scope["headers"].clear()
    kept = {key: scope[key] for key in ("type", "method", "path")}
    scope.clear()
    scope.update(kept)


class _Flow(Protocol):
    write_paused: bool


class _Exchange(Protocol):
    """uvicorn's own object for a request and its response, whose methods `receive` and `send` are."""

    disconnected: bool
    flow: _Flow


def _exchange(receive: Receive) -> _Exchange | None:
    found = getattr(receive, "__self__", None)
    return found if isinstance(getattr(found, "disconnected", None), bool) else None


class _Stream:
    __slots__ = ("beating", "busy", "exchange", "framing", "gone", "last", "leaving", "send", "task")

    def __init__(
        self, receive: Receive, send: Send, framing: Framing, task: "asyncio.Task[None]", now: float
    ) -> None:
        self.send = send
        self.framing = framing
        self.task = task
        self.last = now
        self.busy = self.gone = False
        self.beating: asyncio.Task[None] | None = None
        self.leaving: asyncio.Task[None] | None = None
        self.exchange = _exchange(receive)
        if self.exchange is None:
            # Of another server's exchange only `receive` tells, and that takes a task, and a kilobyte, for each stream.
            self.leaving = task.get_loop().create_task(
                self.leave(receive), name="stream-leave", context=contextvars.Context()
            )

    @property
    def left(self) -> bool:
        """Whether the client is known to have gone."""
        return self.exchange is not None and self.exchange.disconnected

    async def write(self, data: bytes) -> None:
        self.busy = True
        await self.send({"type": "http.response.body", "body": data, "more_body": True})
        self.busy = False

    @property
    def direct(self) -> bool:
        """Whether what is sent goes to uvicorn itself, which makes nobody wait while its connection is not full."""
        return self.exchange is not None and getattr(self.send, "__self__", None) is self.exchange

    def put(self, batch: Sequence[LoggedEvent]) -> bool:
        """Write a batch now, unless that might have to wait; whether it was written."""
        exchange = self.exchange
        if exchange is None or exchange.disconnected or exchange.flow.write_paused or self.busy or self.gone:
            return False
        body = frames(self.framing, batch)
        sending = self.send({"type": "http.response.body", "body": body, "more_body": True})
        try:
            sending.send(None)  # type: ignore[attr-defined]
        except StopIteration:
            self.last = self.task.get_loop().time()
            return True
        except RuntimeError:  # closed a moment ago, as the stream's own task is about to find out
            return False
        raise AssertionError("uvicorn waits although its connection is not full")

    async def leave(self, receive: Receive) -> None:
        """Wait for the client to go, then end the stream."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()

    def end(self) -> None:
        if not self.gone:
            self.gone = True
            self.task.cancel()


class EventStreams:
    """All open event streams of an app. `keep_alive` seconds of silence bring a comment (fewer than the five
    after which many clients, the a2a-sdk's among them, give up on a silent connection)."""

    def __init__(self, keep_alive: float = 4.0) -> None:
        self._keep_alive = keep_alive
        self._open: set[_Stream] = set()
        self._tending: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    async def serve(
        self, scope: Scope, receive: Receive, send: Send, batches: Batches, framing: Framing
    ) -> None:
        """Send every batch until the log ends, the client goes, or `end_all`. An error becomes an `error`
        event, the stream's last. `batches` is closed in any case, and the scope emptied."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        stream = _Stream(receive, send, framing, task, loop.time())
        outlet = getattr(batches, "outlet", None) if stream.direct else None
        self._open.add(stream)
        if self._tending is None:
            self._tending = loop.create_task(self._tend(), name="event-streams-keep-alive")
        try:
            await send(_START)
            _forget(scope)
            async for batch in batches:
                if batch:
                    await stream.write(frames(framing, batch))
                    stream.last = loop.time()
                    if outlet is not None:
                        outlet.write = (
                            stream.put
                        )  # from the second batch on: the first may be another's business
                del batch  # while the stream is idle nothing holds on to what it sent
        except asyncio.CancelledError:
            if not stream.gone or task.uncancel():
                raise
        except Exception as error:  # noqa: BLE001 - the client is told, in the protocol's words
            await stream.write(b"event: error\ndata: %b\n\n" % framing.error(translate(error)))
        finally:
            self._open.discard(stream)
            for beside in (stream.leaving, stream.beating):
                if beside is not None:
                    beside.cancel()
            await close(batches)
        await send(_END)

    def end_all(self) -> None:
        """End every stream now, as a host that drains does: clients resume from another replica."""
        for stream in list(self._open):
            stream.end()

    async def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        while self._open:
            await asyncio.sleep(self._keep_alive / 8)
            now = loop.time()
            for stream in self._open:
                if stream.left:
                    stream.end()
                elif now - stream.last >= self._keep_alive and not stream.busy and stream.beating is None:
                    stream.last = now
                    stream.beating = loop.create_task(self._beat(stream))
        self._tending = None

    async def _beat(self, stream: _Stream) -> None:
        await stream.write(_COMMENT)
        stream.beating = None
