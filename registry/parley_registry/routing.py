"""What the service's routes share: JSON read strictly, answers written quickly, refusals shown in OpenAPI."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from parley_registry.door import StrictRequest
from parley_registry.problems import MEDIA_TYPE

_MEANINGS = {
    400: "The request is malformed; `faults` names all that is wrong.",
    401: "The caller did not prove who it is.",
    403: "The caller may not do that: it has no right to the name, or is not its owner.",
    404: "What is named in the path does not exist.",
    409: "It contradicts what is there.",
    413: "The body is too large.",
    422: "What is given breaks the rules or cannot be fetched; `faults` names every fault.",
    503: "Not now; try again.",
}


class StrictRoute(APIRoute):
    """A route whose requests are `StrictRequest`s."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals that a route may answer with, as OpenAPI shows them."""
    shown = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    return {status: {"description": _MEANINGS[status], **shown} for status in (*statuses, 503)}


def answer(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")
