"""Streams between the reader and the doors: how one opens, what its first event is, and protocol objects from JSON."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence

import orjson
from a2a.server.events import Event
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors as a2a
from a2a.utils.task import apply_history_length
from google.protobuf.json_format import ParseDict

from parley_runtime.bus import Subscription
from parley_runtime.reader import Batch, Outlet, snapshot_event
from parley_runtime.store import ERROR, LoggedEvent, StoredTask
from parley_runtime.wire import task_json

_FIRST_EVENT = 2.0
"""Seconds a stream waits for its first event before it is opened without one; until then an error is a plain error."""


def resumed(stored: StoredTask, after: int) -> tuple[int, LoggedEvent | None]:
    """Where a stream that has seen generation `after` goes on. If the log no longer reaches back so far, that is behind
    the Task as it is, which comes first, as one event."""
    if after + 1 >= stored.log_from:
        return after, None
    return stored.generation, snapshot_event(stored)


class Stream:
    """Batches of events, and the outlet to which whoever sends them on may have them written directly."""

    __slots__ = ("_batches", "outlet")

    def __init__(self, batches: AsyncGenerator[Sequence[LoggedEvent], None], outlet: Outlet) -> None:
        self._batches = batches
        self.outlet = outlet

    def __aiter__(self) -> "Stream":
        return self

    def __anext__(self) -> Awaitable[Sequence[LoggedEvent]]:
        return self._batches.__anext__()

    async def aclose(self) -> None:
        """Stop reading."""
        self.outlet.write = None
        await self._batches.aclose()


async def opened(
    batches: AsyncGenerator[Batch, None],
    ear: Subscription,
    config: pb.SendMessageConfiguration | None,
    wait: float = _FIRST_EVENT,
) -> AsyncGenerator[Sequence[LoggedEvent], None]:
    """The stream, once its first events are there or `wait` has passed; an error recorded first is raised here."""
    first: asyncio.Task[Batch] = asyncio.ensure_future(anext(batches))  # type: ignore[arg-type]
    try:
        await asyncio.wait([first], timeout=wait)
    except BaseException:
        first.cancel()
        ear.close()  # the reader may not have begun, and then closes nothing itself
        raise
    if first.done() and first.exception() is None and first.result()[0].state == ERROR:
        await batches.aclose()
        reply(first.result()[0])
    return _events(first, batches, config)


async def _events(
    first: "asyncio.Task[Batch]",
    batches: AsyncGenerator[Batch, None],
    config: pb.SendMessageConfiguration | None,
) -> AsyncGenerator[Sequence[LoggedEvent], None]:
    try:
        try:
            batch = await first
        except StopAsyncIteration:
            return
        del first
        if batch[0].state == ERROR:
            reply(batch[0])
        events = _shortened(batch, config)
        del batch, config
        yield events
        del events
        async for batch in batches:
            yield batch
            del batch
    finally:
        await batches.aclose()


def _shortened(
    events: Sequence[LoggedEvent], config: pb.SendMessageConfiguration | None
) -> Sequence[LoggedEvent]:
    if config is None or not config.HasField("history_length") or not events[0].body.startswith(b'{"task":'):
        return events
    task = apply_history_length(ParseDict(orjson.loads(events[0].body)["task"], pb.Task()), config)
    head = events[0]
    body = orjson.dumps({"task": task_json(task)})
    return [LoggedEvent(head.generation, body, head.state, head.at, head.work), *events[1:]]


async def nothing() -> AsyncIterator[Sequence[LoggedEvent]]:
    """The stream of a client that has seen the end."""
    none: Sequence[Sequence[LoggedEvent]] = ()
    for batch in none:
        yield batch


async def parsed(stream: AsyncIterator[Sequence[LoggedEvent]]) -> AsyncGenerator[Event, None]:
    try:
        async for batch in stream:
            for event in batch:
                response = ParseDict(orjson.loads(event.body), pb.StreamResponse())
                yield getattr(response, response.WhichOneof("payload") or "task")
    finally:
        if isinstance(stream, AsyncGenerator | Stream):
            await stream.aclose()


def reply(event: LoggedEvent) -> pb.Message:
    body = orjson.loads(event.body)
    if event.state == ERROR:
        raise _recorded(body["error"])
    return ParseDict(body["message"], pb.Message())


def _recorded(error: dict[str, object]) -> a2a.A2AError:
    kind = getattr(a2a, str(error["type"]), a2a.InternalError)
    data = error.get("data")
    made = kind(message=str(error["message"]), data=data if isinstance(data, dict) else None)
    assert isinstance(made, a2a.A2AError)
    return made
