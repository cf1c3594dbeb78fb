"""The outer shape of an HTTP call: its body within the limit, its media type, and whole answers to it."""

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from parley_runtime.bindings.failures import MediaTypeError, PayloadTooLargeError

JSON = b"application/json"
A2A_JSON = b"application/a2a+json"


class ClientGone(Exception):
    """The client went away before its request was complete: nobody waits for an answer."""


def header(scope: Scope, name: bytes) -> bytes:
    """The value of a header (lower-case name), or nothing."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


async def read_body(scope: Scope, receive: Receive, limit: int, *, json: bool = True) -> bytes:
    """The whole body of a call. With `json` a body that is there must be declared as JSON.

    Raises PayloadTooLargeError beyond `limit` bytes, MediaTypeError, ClientGone.
    """
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > limit:
        raise PayloadTooLargeError(f"Payload too large: this host takes {limit} bytes")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise PayloadTooLargeError(f"Payload too large: this host takes {limit} bytes")
        if chunk:
            chunks.append(chunk)
        if not message.get("more_body", False):
            break
    if json and size and not _is_json(header(scope, b"content-type")):
        raise MediaTypeError("Unsupported media type; send Content-Type: application/json")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _is_json(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type in (JSON, A2A_JSON) or (
        media_type.startswith(b"application/") and media_type.endswith(b"+json")
    )


async def respond(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = JSON,
    headers: Mapping[bytes, bytes] | None = None,
) -> None:
    """Send a whole response."""
    fields = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    fields.extend((headers or {}).items())
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": False})
