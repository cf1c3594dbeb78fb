"""Blobs over HTTP: read by signed URL (Range, HEAD, ETag; RFC 9110), put by POST. Streamed both ways."""

import asyncio
import logging
import re
from base64 import b64decode
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from parley_core.bloblinks import PATH, UrlSigner
from parley_core.blobs import LIMIT, BlobError, BlobsRefused, BlobStore, BlobTooLarge, verified
from parley_core.errors import Unavailable

log = logging.getLogger(__name__)

_SILENCE = 60.0
"""Seconds an upload may go without a byte."""
_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")
_CONTENT_DIGEST = re.compile(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):")


def read_route(store: BlobStore, signer: UrlSigner) -> Route:
    """`GET /parley/v1/blobs/{digest}?expires&signature`, and HEAD. 403 for a bad or expired signature, 404 for a blob
    that is not here: what is not signed for learns nothing of what exists."""

    async def read(request: Request) -> Response:
        query = parse_qs(request.url.query)
        digest = request.path_params["digest"]
        expires, signature = (query.get(name, [""])[0] for name in ("expires", "signature"))
        if not signer.verify(digest, expires, signature):
            return _refusal(403, "this link is not valid (any more): ask for a new one")
        try:
            blob = await store.stat(digest)
        except Unavailable as error:
            return _later(error)
        except BlobError as error:
            return _refusal(404, str(error))
        if blob is None:
            return _refusal(404, f"blob {digest[:12]} is not here (any more)")
        tag = f'"{digest}"'
        headers = {
            "ETag": tag,
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, immutable",
            # What a blob holds is anybody's: no browser is to show it as a page of this host.
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": "attachment",
        }
        known = [
            one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")
        ]
        if tag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        span = None
        if request.headers.get("if-range", tag) == tag:
            span = _span(request.headers.get("range", ""), blob.size)
        if span is not None and span[0] >= span[1]:
            headers["Content-Range"] = f"bytes */{blob.size}"
            return Response(status_code=416, headers=headers)
        start, end = span or (0, blob.size)
        headers["Content-Length"] = str(end - start)
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
        status = 206 if span is not None else 200
        if request.method == "HEAD":
            return Response(None, status, headers, "application/octet-stream")
        chunks = verified(store, digest) if span is None else store.read(digest, start, end)
        # Should reading fail now, the connection breaks off short of its Content-Length, which every client notices.
        return StreamingResponse(chunks, status, headers, "application/octet-stream")

    return Route(PATH + "/{digest}", read, methods=["GET"])


def put_route(store: BlobStore, signer: UrlSigner, *, limit: int = LIMIT, lifetime: float = 3600.0) -> Route:
    """`POST /parley/v1/blobs` with the content as body: 201 with its digest, size and a URL signed for `lifetime`
    seconds. A `Content-Digest: sha-256=:…:` (RFC 9530) is held to. The route does not ask who calls."""

    async def put(request: Request) -> Response:
        if (
            request.headers.get("content-type", "").partition(";")[0].strip().lower()
            != "application/octet-stream"
        ):
            # Required also because no web page can send it to a host on loopback unasked.
            return _refusal(415, "send the content as Content-Type: application/octet-stream")
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            return _refusal(413, f"a blob may have {limit} bytes here")
        expected = ""
        if given := request.headers.get("content-digest", ""):
            found = _CONTENT_DIGEST.search(given)
            if found is None:
                return _refusal(400, "Content-Digest: name the content's sha-256, as in sha-256=:base64:")
            expected = b64decode(found[1]).hex()
        try:
            blob = await store.put(_body(request), limit=limit, digest=expected)
        except BlobTooLarge as error:
            return _refusal(413, str(error))
        except BlobError as error:
            return _refusal(400, str(error))
        except Unavailable as error:
            return _later(error)
        except (ClientDisconnect, TimeoutError):
            return _refusal(
                408, f"the content stopped in the middle ({_SILENCE:.0f} s without a byte are too many)"
            )
        url = signer.sign(blob.digest, lifetime=lifetime)
        return JSONResponse({"digest": blob.digest, "size": blob.size, "url": url}, 201)

    return Route(PATH, put, methods=["POST"])


async def _body(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of some size: servers give it in small ones, and each costs a turn of a thread."""
    chunks, held, size = request.stream(), list[bytes](), 0
    while True:
        async with asyncio.timeout(_SILENCE):
            chunk = await anext(chunks, None)
        if chunk is None:
            break
        held.append(chunk)
        size += len(chunk)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


_PIECE = 256 * 1024


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of a single range; None when all is wanted (several ranges are not
    served, which the RFC leaves free); an empty span when there is nothing in it."""
    found = _RANGE.match(header.strip())
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        return (max(0, size - int(found[2])), size) if int(found[2]) else (0, 0)
    start = int(found[1])
    if found[2] and int(found[2]) < start:
        return None
    end = min(int(found[2]) + 1, size) if found[2] else size
    return (start, end) if start < size else (0, 0)


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def _later(error: Unavailable) -> Response:
    log.warning("a call for a blob cannot be answered: %s", error)
    message = "the blob store is not set up right; its operator finds why in the log"
    return JSONResponse(
        {
            "error": message
            if isinstance(error, BlobsRefused)
            else "the blob store does not answer; try again"
        },
        503,
        {"Retry-After": "1"},
    )
