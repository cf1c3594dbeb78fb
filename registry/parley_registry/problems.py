"""Every refusal and failure as one kind of answer: application/problem+json (RFC 9457), with all faults."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from parley_core.errors import Unavailable
from parley_core.identity import Unauthenticated
from parley_registry.errors import Fault, RegistryError

_logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int,
    kind: str,
    detail: str,
    faults: tuple[Fault, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer for one problem; `kind` "" is one that the status says all about."""
    told: dict[str, Any] = {
        "type": f"urn:parley:registry:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "faults": [{"field": fault.field, "message": fault.message} for fault in faults],
    }
    return Response(orjson.dumps(told), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer all errors of `app` so."""

    @app.exception_handler(RegistryError)
    async def refused(_: Request, error: RegistryError) -> Response:
        return problem(error.status, error.kind, error.summary, error.faults)

    @app.exception_handler(Unavailable)
    async def unavailable(_: Request, error: Unavailable) -> Response:
        return problem(503, "busy", str(error), headers={"retry-after": "1"})

    @app.exception_handler(Unauthenticated)
    async def unauthenticated(_: Request, error: Unauthenticated) -> Response:
        return problem(401, "not-allowed", str(error), headers={"www-authenticate": error.challenge})

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        faults = tuple(Fault(_place(one["loc"]), _said(one)) for one in error.errors())
        return problem(400, "bad-request", "the request is malformed; correct what is named", faults)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, "", str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        _logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(500, "", "the registry failed on this request; its log says why")


def _place(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location[1:] if len(location) > 1 else location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _said(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return f"is not valid JSON: {error['ctx']['error']}"
    return str(error["msg"])
