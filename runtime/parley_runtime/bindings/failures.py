"""Errors as each binding words them (sections 3.3.2, 5.4, 9.5, 11.6), with nothing of the inside in them."""

from typing import Any

import orjson
from a2a.utils.error_handlers import A2A_DOMAIN, BAD_REQUEST_TYPE, ERROR_INFO_TYPE
from a2a.utils.errors import (
    A2A_ERROR_MAPPING,
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

    message = "The agent cannot reach its store; try again in a moment"


class BacklogFullError(TryAgainError):
    """The agent has as many messages waiting as it may; its data says in how many seconds to send this one again."""

    message = "The agent's backlog is full; send the same message again later"


class PayloadTooLargeError(InvalidRequestError):
    """The body is longer than the host takes."""

    message = "Payload too large"


class MediaTypeError(InvalidRequestError):
    """The body is not declared as JSON. (Requiring it keeps web pages from calling a host on loopback.)"""

    message = "Unsupported media type"


class LoginNeededError(A2AError):
    """The operation is for callers who proved who they are, and this one did not (section 13.3)."""

    message = "Only for callers who prove who they are"


RETRY_INFO_TYPE = "type.googleapis.com/google.rpc.RetryInfo"

_MAPPING: dict[type[A2AError], ErrorMapping] = {
    **A2A_ERROR_MAPPING,
    JSONParseError: ErrorMapping(400, "INVALID_ARGUMENT", "JSON_PARSE"),
    TryAgainError: ErrorMapping(503, "UNAVAILABLE", "UNAVAILABLE"),
    BacklogFullError: ErrorMapping(429, "RESOURCE_EXHAUSTED", "BACKLOG_FULL"),
    PayloadTooLargeError: ErrorMapping(413, "RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE"),
    MediaTypeError: ErrorMapping(415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE"),
    LoginNeededError: ErrorMapping(401, "UNAUTHENTICATED", "UNAUTHENTICATED"),
}
_CODES = {
    **JSON_RPC_ERROR_CODE_MAP,
    PayloadTooLargeError: -32600,
    MediaTypeError: -32600,
    LoginNeededError: -32600,
}
_INTERNAL = -32603


def mapping(error: A2AError) -> ErrorMapping:
    """HTTP status, gRPC status and reason of an error; an error of no known class is an InternalError."""
    return _MAPPING.get(type(error), _MAPPING[InternalError])


def details(error: A2AError) -> list[dict[str, Any]]:
    """The typed details of an error: ErrorInfo always, BadRequest when it names fields."""
    data = error.data if isinstance(error.data, dict) else {}
    found: list[dict[str, Any]] = [
        {
            "@type": ERROR_INFO_TYPE,
            "reason": mapping(error).reason,
            "domain": A2A_DOMAIN,
            "metadata": {str(k): str(v) for k, v in data.items() if k != "errors"},
        }
    ]
    if seconds := retry_after(error):
        found[0]["metadata"]["retryAfter"] = str(
            seconds
        )  # all that the a2a-sdk's client shows of a JSON-RPC error's details
        found.append({"@type": RETRY_INFO_TYPE, "retryDelay": f"{seconds}s"})
    if isinstance(error, InvalidParamsError) and data.get("errors"):
        violations = [{"field": e["field"], "description": e["message"]} for e in data["errors"]]
        found.append({"@type": BAD_REQUEST_TYPE, "fieldViolations": violations})
    return found


def retry_after(error: A2AError) -> int:
    """Seconds after which a call that was refused for now may be made again; 0 for an error that would come again."""
    if not isinstance(error, TryAgainError):
        return 0
    data = error.data if isinstance(error.data, dict) else {}
    return max(1, int(data.get("retryAfter", 1)))


def answer_headers(error: A2AError) -> dict[bytes, bytes]:
    """What the headers of an answer say of the error: Retry-After (RFC 9110, 10.2.3) or WWW-Authenticate (11.6.1)."""
    if isinstance(error, LoginNeededError):
        return {b"www-authenticate": b"Bearer"}
    seconds = retry_after(error)
    return {b"retry-after": b"%d" % seconds} if seconds else {}


def jsonrpc_error(request_id: str | int | None, error: A2AError) -> bytes:
    """The JSON-RPC error response to request `request_id`."""
    code = _CODES.get(type(error), _INTERNAL)
    body = {"code": code, "message": error.message, "data": details(error)}
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": body})


def outcome(error: A2AError | None) -> str:
    """How a call ended, as a metric's label: "ok" or the error's reason in lower case."""
    return "ok" if error is None else mapping(error).reason.lower()


def jsonrpc_status(error: A2AError) -> int:
    """The HTTP status of a JSON-RPC error response: 200, but 401 where a challenge goes with it (section 7.4)."""
    return 401 if isinstance(error, LoginNeededError) else 200


def http_status(error: A2AError) -> int:
    """The HTTP status of an error over HTTP+JSON."""
    return mapping(error).http_code


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
    found = mapping(error)
    return status_json(found.http_code, found.grpc_status, error.message, details(error))
