"""Content-addressed blobs: stored once under their SHA-256, checked when read, lent by signed URLs.

Any fsspec file system holds them (a folder, S3, GCS …). A URL is signed for one blob and a time, so that
agents hand each other large parts by reference without sharing credentials. Needs nothing from who serves
them but the routes of `blob_routes`.
"""

import asyncio
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fsspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parley_core.errors import ConfigurationError, ParleyError

LIMIT = 512 * 1024 * 1024
"""Bytes a single blob may have, unless told otherwise."""

PATH = "/parley/v1/blobs"

_DIGEST = re.compile(r"^[0-9a-f]{64}$")


class BlobError(ParleyError):
    """A blob is missing, too large, damaged, or its URL is not valid (any more)."""


def digest_of(data: bytes) -> str:
    """The name of a blob: the SHA-256 of its content in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


class BlobStore:
    """Blobs under one fsspec URL (`file:///var/parley/blobs`, `s3://bucket/blobs`, or a plain path)."""

    def __init__(self, url: str, *, limit: int = LIMIT, options: dict[str, Any] | None = None) -> None:
        """`limit` is the largest blob in bytes. Raises ConfigurationError for an address fsspec does not know."""
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, **(options or {}))
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"{url!r} is not a place for blobs: {error}") from error
        self.limit = limit

    async def put(self, data: bytes) -> str:
        """Store `data` (at once harmless if it is there already) and return its digest.

        Raises BlobError when it is larger than the limit.
        """
        if len(data) > self.limit:
            raise BlobError(f"{len(data)} bytes are more than the {self.limit} a blob may have")
        digest = digest_of(data)
        await asyncio.to_thread(self._put, digest, data)
        return digest

    async def get(self, digest: str) -> bytes:
        """The blob's content. Raises BlobError when it is missing, too large or not what its name says."""
        return await asyncio.to_thread(self._get, _checked(digest))

    async def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return bool(await asyncio.to_thread(self._files.exists, self._place(_checked(digest))))

    def _place(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    def _put(self, digest: str, data: bytes) -> None:
        place = self._place(digest)
        if self._files.exists(place) and self._files.size(place) == len(data):
            return
        self._files.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
        # Under another name first: a reader never meets half a blob, two writers never mix.
        draft = f"{place}.{secrets.token_hex(6)}"
        self._files.pipe_file(draft, data)
        self._files.mv(draft, place)

    def _get(self, digest: str) -> bytes:
        place = self._place(digest)
        try:
            size = self._files.size(place)
            if size is not None and size > self.limit:
                raise BlobError(f"blob {digest[:12]} has {size} bytes, more than the {self.limit} allowed")
            data: bytes = self._files.cat_file(place)
        except FileNotFoundError as error:
            raise BlobError(f"blob {digest[:12]} is not here (any more)") from error
        if digest_of(data) != digest:
            raise BlobError(f"blob {digest[:12]} is damaged: its content does not match its name")
        return data


def _checked(digest: str) -> str:
    if not _DIGEST.match(digest):
        raise BlobError("a blob is named by 64 lower-case hex digits")
    return digest


class UrlSigner:
    """Makes and checks signed URLs of blobs (HMAC-SHA256 over digest and expiry)."""

    def __init__(self, key: bytes, base_url: str = "", *, clock: Callable[[], float] = time.time) -> None:
        """`base_url` is where `blob_routes` are reachable. Raises ConfigurationError for a key under 16 bytes."""
        if len(key) < 16:
            raise ConfigurationError("the key that signs blob URLs needs at least 16 bytes")
        self._key = key
        self._base = base_url.rstrip("/")
        self._clock = clock

    def sign(self, digest: str, *, lifetime: float = 3600.0) -> str:
        """A URL that reads this blob for `lifetime` seconds."""
        expires = int(self._clock() + lifetime)
        return (
            f"{self._base}{PATH}/{_checked(digest)}?expires={expires}&signature={self._mac(digest, expires)}"
        )

    def verify(self, digest: str, expires: str, signature: str) -> bool:
        """Whether the three came from `sign` with this key and the time is not over."""
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            return False
        expected = self._mac(digest, int(expires))
        return hmac.compare_digest(expected.encode(), signature.encode()) and int(expires) >= self._clock()

    def _mac(self, digest: str, expires: int) -> str:
        return hmac.new(self._key, f"parley-blob\n{digest}\n{expires}".encode(), hashlib.sha256).hexdigest()


def digest_in(url: str) -> str:
    """The digest a blob URL names, or "" when it is not a blob URL of Parley's."""
    head, _, last = urlsplit(url).path.rpartition("/")
    return last if head.endswith(PATH) and _DIGEST.match(last) else ""


def blob_routes(store: BlobStore, key: bytes) -> list[Route]:
    """`GET /parley/v1/blobs/{digest}?expires&signature` for an ASGI app. 403 for a bad or expired signature,
    404 for a blob that is not here; what is not signed for learns nothing of what exists."""
    signer = UrlSigner(key)

    async def read(request: Request) -> Response:
        query = parse_qs(request.url.query)
        digest = request.path_params["digest"]
        expires, signature = (query.get(name, [""])[0] for name in ("expires", "signature"))
        if not signer.verify(digest, expires, signature):
            return JSONResponse({"error": "this link is not valid (any more): ask for a new one"}, 403)
        try:
            data = await store.get(digest)
        except BlobError as error:
            return JSONResponse({"error": str(error)}, 404)
        return Response(
            data,
            media_type="application/octet-stream",
            headers={
                "ETag": f'"{digest}"',
                "Cache-Control": "private, immutable",
                "X-Content-Type-Options": "nosniff",
            },
        )

    return [Route(PATH + "/{digest}", read, methods=["GET"])]


def load_key(path: Path) -> bytes:
    """The signing key kept in `path` (32 bytes as hex), made on first use, readable by its owner alone.

    Several processes may start on one path at once: all get the same key.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError:
        key = b""
    if len(key) < 16:
        raise ConfigurationError(f"{path} does not hold a key: remove it and start again")
    return key
