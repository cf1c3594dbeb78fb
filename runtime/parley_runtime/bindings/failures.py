"""Errors as each binding words them (sections 3.3.2, 5.4, 9.5, 11.6), with nothing of the inside in them."""

from typing import Any

import orjson
from a2a.utils.error_handlers import A2A_DOMAIN, BAD_REQUEST_TYPE, ERROR_INFO_TYPE
from a2a.utils.errors import (
    A2A_ERROR_MAPPING,
    A2A_ERROR_REASONS,
    JSON_RPC_ERROR_CODE_MAP,
    A2AError,
    ErrorMapping,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    JSONParseError,
)


class TryAgainError(InternalError):
    """The host cannot take the call now; the same call may succeed in a moment."""

    message = "The agent is overloaded; try again in a moment"


class PayloadTooLargeError(InvalidRequestError):
    """The body is longer than the host takes."""

    message = "Payload too large"


class MediaTypeError(InvalidRequestError):
    """The body is not declared as JSON. (Requiring it keeps web pages from calling a host on loopback.)"""

    message = "Unsupported media type"


def _register(kind: type[A2AError], code: int, mapping: ErrorMapping) -> None:
    """Enter an error of ours, or one they left out, into the a2a-sdk's tables, which go by exact class."""
    JSON_RPC_ERROR_CODE_MAP[kind] = code
    A2A_ERROR_MAPPING[kind] = mapping
    A2A_ERROR_REASONS[kind] = mapping.reason


_register(TryAgainError, -32603, ErrorMapping(503, "UNAVAILABLE", "UNAVAILABLE"))
_register(JSONParseError, -32700, ErrorMapping(400, "INVALID_ARGUMENT", "JSON_PARSE"))
_register(PayloadTooLargeError, -32600, ErrorMapping(413, "RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE"))
_register(MediaTypeError, -32600, ErrorMapping(415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE"))


def details(error: A2AError) -> list[dict[str, Any]]:
    """The typed details of an error: ErrorInfo always, BadRequest when it names fields."""
    data = error.data if isinstance(error.data, dict) else {}
    found: list[dict[str, Any]] = [
        {
            "@type": ERROR_INFO_TYPE,
            "reason": A2A_ERROR_REASONS.get(type(error), "INTERNAL_ERROR"),
            "domain": A2A_DOMAIN,
            "metadata": {str(k): str(v) for k, v in data.items() if k != "errors"},
        }
    ]
    if isinstance(error, InvalidParamsError) and data.get("errors"):
        violations = [{"field": e["field"], "description": e["message"]} for e in data["errors"]]
        found.append({"@type": BAD_REQUEST_TYPE, "fieldViolations": violations})
    return found


def jsonrpc_error(request_id: str | int | None, error: A2AError) -> bytes:
    """The JSON-RPC error response to request `request_id`."""
    code = JSON_RPC_ERROR_CODE_MAP.get(type(error), -32603)
    body = {"code": code, "message": error.message, "data": details(error)}
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": body})


def outcome(error: A2AError | None) -> str:
    """How a call ended, as a metric's label: "ok" or the error's reason in lower case."""
    return "ok" if error is None else A2A_ERROR_REASONS.get(type(error), "INTERNAL_ERROR").lower()


def http_status(error: A2AError) -> int:
    """The HTTP status of an error over HTTP+JSON."""
    return A2A_ERROR_MAPPING.get(type(error), A2A_ERROR_MAPPING[InternalError]).http_code


def status_json(
    code: int, status: str, message: str, error_details: list[dict[str, Any]] | None = None
) -> bytes:
    """A google.rpc.Status as HTTP+JSON words it."""
    body: dict[str, Any] = {"code": code, "status": status, "message": message}
    if error_details:
        body["details"] = error_details
    return orjson.dumps({"error": body})


def rest_error(error: A2AError) -> bytes:
    """The HTTP+JSON body of an error."""
    mapping = A2A_ERROR_MAPPING.get(type(error), A2A_ERROR_MAPPING[InternalError])
    return status_json(mapping.http_code, mapping.grpc_status, error.message, details(error))
