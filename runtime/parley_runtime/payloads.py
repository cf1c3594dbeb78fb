"""Large payloads: parts over a limit are kept in the blob store, and a signed URL travels in their place.

A sender notices nothing: the parts of a message are put back before the executor sees them. In the task's history, and in
the executor's artifacts that are over the limit, clients find a `url` part that a plain GET reads. For content beyond
memory an executor reads with `open_part` and writes with `write_part`, and a client puts it with
`POST /parley/v1/blobs` and sends the URL it is given.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import TypeVar

from a2a.types import a2a_pb2 as pb
from starlette.routing import Route

from parley_core.bloblinks import UrlSigner, digest_in, key_file
from parley_core.blobroutes import put_route, read_route
from parley_core.blobs import BlobError, BlobMissing, BlobStore, put_bytes, read_bytes, verified
from parley_core.blobstores import blob_store
from parley_core.database import sqlite_path
from parley_core.errors import Unavailable
from parley_runtime.claims import Claim, claim, content_of, describe, large, parts_of, restore
from parley_runtime.cleaner import BlobCleaner
from parley_runtime.settings import HostSettings
from parley_runtime.task import ExecutorEvent

log = logging.getLogger(__name__)

FOR_EVER = float("inf")
"""How long a URL in a task is good for: as long as its blob is there. (Events are kept and sent as they are.)"""
_USED_AGAIN = 24 * 3600.0
"""Age at which a blob that a task uses again is touched."""
_MOST_USED_AGAIN = 100
"""Blobs of one message or task that are looked after; each costs a call to the store."""

E = TypeVar("E", bound=ExecutorEvent)


class Payloads:
    """Puts large parts into the blob store and takes them out. Without a store everything travels in its message."""

    def __init__(
        self,
        store: BlobStore | None = None,
        signer: UrlSigner | None = None,
        *,
        inline_limit: int = 256 * 1024,
        restore_limit: int = 16 * 1024 * 1024,
        blob_limit: int = 1024**3,
        retention: float = FOR_EVER,
    ) -> None:
        """A part over `inline_limit` bytes is kept apart; parts of a message are put back while they have no more than
        `restore_limit` together; a blob may have `blob_limit` and goes when it was not used for `retention` seconds."""
        self.store = store
        self.signer = signer
        self._blob_limit = blob_limit
        self._inline_limit = inline_limit
        self._restore_limit = restore_limit
        self._retention = retention

    async def open(self) -> None:
        """See that the store can be used; one that does not answer now is waited for by who needs it. Raises
        ConfigurationError when it cannot be used as configured."""
        if self.store is not None:
            try:
                await self.store.open()
            except Unavailable as error:
                log.warning("large parts cannot be taken now: %s", error)

    async def close(self) -> None:
        """Let go of the store."""
        if self.store is not None:
            await self.store.close()

    async def clean(self) -> None:
        """Remove blobs that are used no more, until cancelled."""
        if self.store is not None and self._retention != FOR_EVER:
            await BlobCleaner(self.store, self._retention).run()

    def routes(self) -> tuple[Sequence[Route], Sequence[Route]]:
        """The routes that read blobs, for everybody (their signature is checked), and those that put them, for callers
        who are known."""
        if self.store is None or self.signer is None:
            return (), ()
        put = put_route(self.store, self.signer, limit=self._blob_limit, lifetime=FOR_EVER)
        return (read_route(self.store, self.signer),), (put,)

    def fits(self, message: ExecutorEvent) -> bool:
        """Whether all of it may travel as it is."""
        return self.store is None or message.ByteSize() <= self._inline_limit

    # -- messages

    async def check_in(self, message: pb.Message) -> tuple[Claim, ...]:
        """Put the large parts of an accepted message into the store and a URL in their place. Blobs of ours that it names
        are used again. Raises Unavailable."""
        if self.store is None:
            return ()
        for part in message.parts:
            if part.url:
                await self._use_again(message.parts)
                break
        if self.fits(message):
            return ()
        return await self._claimed(message.parts)

    async def check_out(self, message: pb.Message, claims: Sequence[Claim]) -> None:
        """Make the message again what its sender wrote (parts that are too large for this process stay URLs).

        Raises BlobError when a part is lost, Unavailable.
        """
        room = self._restore_limit
        for one in claims:
            if one.size > room:
                continue
            room -= one.size
            if self.store is None:
                raise BlobMissing(
                    "this worker has no blob store, and the front that took the message has one"
                )
            data = await read_bytes(self.store, one.digest, limit=one.size)
            restore(message.parts[one.index], one, data)

    async def use_again(self, task: pb.Task | None) -> None:
        """Keep the blobs of a task that goes on from being cleaned away meanwhile."""
        if self.store is not None and task is not None:
            await self._use_again(list(parts_of(task)))

    async def _use_again(self, parts: Sequence[pb.Part]) -> None:
        assert self.store is not None
        assert self.signer is not None
        urls = (part.url for part in parts if part.WhichOneof("content") == "url")
        digests = {digest for url in urls if (digest := self.signer.digest_of_own(url))}
        for digest in sorted(digests)[:_MOST_USED_AGAIN]:
            try:
                await self._touch(self.store, digest)
            except Unavailable as error:
                log.warning("blob %s could not be marked as used again: %s", digest[:12], error)
                return

    async def _touch(self, store: BlobStore, digest: str) -> None:
        blob = await store.stat(digest)
        if blob is not None and blob.touched < time.time() - _USED_AGAIN:
            await store.touch(digest)

    # -- events

    async def lightened(self, event: E) -> E:
        """The event with URLs in the place of its large parts (a copy, when it has any). Raises Unavailable, BlobError."""
        if self.fits(event):
            return event
        copy = type(event)()
        copy.CopyFrom(event)
        await self._claimed(list(parts_of(copy)))
        return copy

    async def _claimed(self, parts: Sequence[pb.Part]) -> tuple[Claim, ...]:
        assert self.store is not None
        assert self.signer is not None
        claims = []
        for at in large(parts, self._inline_limit):
            if (data := content_of(parts[at])) is None:
                continue
            blob = await put_bytes(self.store, data, limit=self._blob_limit)
            claims.append(claim(parts[at], at, blob, self.signer.sign(blob.digest, lifetime=FOR_EVER)))
        return tuple(claims)

    # -- for executors

    async def read(self, part: pb.Part) -> AsyncGenerator[bytes, None]:
        """See `open_part`."""
        if (content := content_of(part)) is not None:
            yield content
            return
        if self.store is None or self.signer is None:
            raise BlobError(f"part {_name(part)} is a URL and this host has no blob store; set PARLEY_BLOBS")
        if not (digest := self.signer.digest_of_own(part.url)):
            reason = (
                "its link is not valid (any more)" if digest_in(part.url) else "it is somebody else's URL"
            )
            raise BlobError(f"part {_name(part)} is not in the blob store: {reason}")
        async with aclosing(verified(self.store, digest)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def write(self, chunks: AsyncIterable[bytes], media_type: str, filename: str) -> pb.Part:
        """See `write_part`."""
        if self.store is None or self.signer is None:
            raise BlobError("this host has no blob store to write a part to; set PARLEY_BLOBS")
        blob = await self.store.put(chunks, limit=self._blob_limit)
        url = self.signer.sign(blob.digest, lifetime=FOR_EVER)
        part = pb.Part(url=url, media_type=media_type, filename=filename)
        describe(part, blob, "raw")
        return part


current_payloads: ContextVar[Payloads] = ContextVar("parley_payloads")


def open_part(part: pb.Part) -> AsyncGenerator[bytes, None]:
    """The content of a part in chunks of about a MiB: of a URL that this platform signed, from the blob store, checked
    against its digest (the last chunk comes only when the whole is right); of any other part that has content, at once.
    To be used inside an execution.

    Raises BlobError for a URL that is not ours, whose blob is gone, or whose content is damaged; Unavailable when the store
    does not answer.
    """
    return _payloads().read(part)


async def write_part(
    chunks: AsyncIterable[bytes], *, media_type: str = "application/octet-stream", filename: str = ""
) -> pb.Part:
    """Store `chunks` and return the `url` part that leads to them, to be put into an artifact or a message. To be used
    inside an execution.

    Raises BlobTooLarge beyond PARLEY_MAX_BLOB_BYTES, BlobError without a blob store, Unavailable when it does not answer.
    """
    return await _payloads().write(chunks, media_type, filename)


def _payloads() -> Payloads:
    try:
        return current_payloads.get()
    except LookupError:
        raise RuntimeError("open_part and write_part are for use inside an execution") from None


def _name(part: pb.Part) -> str:
    return repr(part.filename) if part.filename else "(unnamed)"


def payloads_for(settings: HostSettings) -> Payloads:
    """The payloads of a host as it is configured: in PARLEY_BLOBS, by default in a folder beside a store that is a file.

    Raises ConfigurationError.
    """
    place, key = settings.blobs, settings.blob_key_file
    if not place and settings.store.startswith("sqlite:"):
        place = str(sqlite_path(settings.store).with_suffix(".blobs"))
    if not place:
        return Payloads()
    url = settings.blob_url or settings.public_url or f"http://{settings.listen}"
    return Payloads(
        blob_store(place),
        UrlSigner(key_file(place, key), url),
        inline_limit=settings.inline_limit,
        restore_limit=settings.max_body_bytes,
        blob_limit=settings.max_blob_bytes,
        retention=settings.retain_tasks + settings.blob_margin,
    )
