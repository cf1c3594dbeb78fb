"""The blob store port: large content, stored once under its SHA-256, streamed both ways.

Guarantees every backend gives:
- *Whole or not at all*: a blob can be seen only when all of it is stored; a `put` that fails or is cut off leaves
  nothing that can be read.
- *Named by content*: the same content is one blob, however often it is put. It belongs to nobody.
- *Flat memory*: a few MiB a call, whatever the size.
- *Kept while used*: putting or touching a blob makes it young again; only `older_than` and `delete` end it.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from parley_core.errors import ParleyError, Unavailable

LIMIT = 1024**3
"""Bytes a single blob may have, unless told otherwise."""
CHUNK = 1024 * 1024
"""Bytes a backend reads at a time."""

_DIGEST = re.compile(r"^[0-9a-f]{64}$")


class BlobError(ParleyError):
    """A blob cannot be had as asked, and asking again would not help."""


class BlobMissing(BlobError):
    """There is no such blob (any more)."""


class BlobTooLarge(BlobError):
    """The content has more bytes than allowed."""


class BlobDamaged(BlobError):
    """The content is not what its name says."""


class BlobsRefused(Unavailable):
    """The place for blobs cannot be used as configured: no such bucket, no permission. Its operator can mend it."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored blob: its digest, its bytes, and when it was last put or touched (seconds)."""

    digest: str
    size: int
    touched: float


class BlobStore(Protocol):
    """See the module's text. All methods may raise Unavailable, and BlobsRefused, which is one; every method that
    takes a digest raises BlobError when it is not 64 lower-case hex digits."""

    async def open(self) -> None:
        """See that the place can be used. Raises ConfigurationError when it cannot be as configured."""

    async def close(self) -> None:
        """Let go of connections."""

    async def put(self, chunks: AsyncIterable[bytes], *, limit: int = LIMIT, digest: str = "") -> Blob:
        """Store what `chunks` gives. Raises BlobTooLarge beyond `limit` bytes, BlobDamaged when `digest` is given
        and is another than the content's, and whatever `chunks` raises."""

    async def stat(self, digest: str) -> Blob | None:
        """What is known of a blob; None when there is none."""

    def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to `end` (not included), not checked against the digest (see `verified`).
        Raises BlobMissing."""

    async def touch(self, digest: str) -> bool:
        """Make a blob young again; False when there is none."""

    async def delete(self, digest: str) -> bool:
        """Remove a blob; False when there was none."""

    def older_than(self, seconds: float) -> AsyncIterator[Blob]:
        """The blobs that were neither put nor touched for so long. Removes what a put that was cut off left."""


def digest_of(data: bytes) -> str:
    """The name of a blob: the SHA-256 of its content in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def checked(digest: str) -> str:
    """The digest, if it is one. Raises BlobError."""
    if not _DIGEST.match(digest):
        raise BlobError("a blob is named by 64 lower-case hex digits")
    return digest


def is_digest(text: str) -> bool:
    """Whether a blob can have this name."""
    return _DIGEST.match(text) is not None


async def put_bytes(store: BlobStore, data: bytes, *, limit: int = LIMIT) -> Blob:
    """Store what is in memory already."""

    async def once() -> AsyncIterator[bytes]:
        yield data

    return await store.put(once(), limit=limit)


async def read_bytes(store: BlobStore, digest: str, *, limit: int) -> bytes:
    """All of a blob, checked. Raises BlobMissing, BlobTooLarge when it has more than `limit` bytes, BlobDamaged."""
    data = bytearray()
    async for chunk in verified(store, digest):
        data += chunk
        if len(data) > limit:
            raise BlobTooLarge(f"blob {digest[:12]} has more than the {limit} bytes allowed here")
    return bytes(data)


async def verified(store: BlobStore, digest: str) -> AsyncGenerator[bytes, None]:
    """A blob in chunks, checked on the way: the last is given only when the whole is what its name says.
    Raises BlobMissing, BlobDamaged."""
    found, held = hashlib.sha256(), b""
    chunks = store.read(digest)
    try:
        async for chunk in chunks:
            if held:
                yield held
            await asyncio.to_thread(found.update, chunk)  # a MiB takes a millisecond
            held = chunk
    finally:
        await chunks.aclose()
    if found.hexdigest() != digest:
        raise BlobDamaged(f"blob {digest[:12]} is damaged: its content does not match its name")
    if held:
        yield held
