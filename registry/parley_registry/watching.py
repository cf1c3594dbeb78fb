"""The watch over HTTP: /v1/watch, changes as server-sent events, to a thousand at once."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

from parley_registry.card import MAX_NAME
from parley_registry.entry import Change
from parley_registry.errors import BadRequest, Fault
from parley_registry.feed import Feed
from parley_registry.models import change_json
from parley_registry.routing import StrictRoute, problems

_STILL_THERE = b": still there\n\n"


def watch_routes(feed: Feed) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/v1", tags=["search"], route_class=StrictRoute)

    @router.get(
        "/watch",
        status_code=200,
        response_class=EventStream,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "Changes as server-sent events."},
            **problems(400),
        },
    )
    async def watch(
        request: Request,
        after: Annotated[int | None, Query(ge=0, le=2**62)] = None,
        kind: Annotated[str, Query(max_length=32, examples=["rollout"])] = "",
        namespace: Annotated[str, Query(max_length=64)] = "",
        name: Annotated[str, Query(max_length=MAX_NAME)] = "",
    ) -> Response:
        """Changes as they happen, as server-sent events with ids; of one kind, namespace or name alone if told so.
        Resumes after `Last-Event-ID` (or `after`), by default from now on."""
        told = request.headers.get("last-event-id", "")
        if told and not (told.isascii() and told.isdigit() and len(told) < 19):
            fault = Fault("Last-Event-ID", "must be the id of an event of this stream")
            raise BadRequest("the watch cannot be resumed there", (fault,))

        def wanted(change: Change) -> bool:
            return (
                (not kind or change.kind == kind)
                and (not namespace or change.namespace == namespace)
                and (not name or change.name == name)
            )

        stream = feed.batches(int(told) if told else after, wanted)
        return EventStream(await anext(stream), stream)

    return router


class EventStream(Response):
    """Batches of changes as server-sent events until the client goes; what came together is sent at once."""

    media_type = "text/event-stream"

    def __init__(
        self, first: list[Change] | None = None, rest: AsyncGenerator[list[Change], None] | None = None
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first or []
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        telling = asyncio.create_task(self._tell(send), name="registry-watch")
        going = asyncio.create_task(_gone(receive), name="registry-watch-end")
        try:
            # Who takes nothing is gone after a while, see the listener's options in `__main__`.
            done, _ = await asyncio.wait([telling, going], return_when=asyncio.FIRST_COMPLETED)
            if telling in done:
                telling.result()
        finally:
            telling.cancel()
            going.cancel()
            await asyncio.wait([telling, going])
            if self._rest is not None:
                await self._rest.aclose()

    async def _tell(self, send: Send) -> None:
        await send(_body(b"".join(map(_event, self._first))))
        if self._rest is not None:
            async for batch in self._rest:
                await send(_body(b"".join(map(_event, batch)) or _STILL_THERE))


def _body(text: bytes) -> Message:
    return {"type": "http.response.body", "body": text, "more_body": True}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(change: Change) -> bytes:
    """On the wire. Kept with its number, as a thousand watchers are sent the same."""
    before, text = _encoded.get(change.seq, (None, b""))
    if before is not change:
        text = b"id: %d\nevent: %s\ndata: %s\n\n" % (
            change.seq,
            change.kind.encode(),
            orjson.dumps(change_json(change)),
        )
        if len(_encoded) >= _ENCODED:
            _encoded.clear()
        _encoded[change.seq] = (change, text)
    return text


_encoded: dict[int, tuple[Change, bytes]] = {}
_ENCODED = 4096
