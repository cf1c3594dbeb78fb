"""Blobs in a bucket of anything that speaks S3. Credentials come from the usual AWS_… environment.

What is put goes to an unnamed file on the local disk first (TMPDIR): its name is known only when all of it is there,
so the bucket sees whole blobs alone, and a writer that is killed leaves nothing. (An upload cut off in the middle
leaves invisible parts in the bucket: have a lifecycle rule abort incomplete multipart uploads after a day.)
"""

import asyncio
import hashlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import IO

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from parley_core.blobs import (
    CHUNK,
    LIMIT,
    Blob,
    BlobDamaged,
    BlobMissing,
    BlobsRefused,
    BlobTooLarge,
    checked,
    is_digest,
)
from parley_core.errors import ConfigurationError, Unavailable

FRESH = 3600.0
"""Seconds for which a blob that is there is not written again when it is put again."""
_DRAFT_SECONDS = 24 * 3600.0
_PART, _PARTS_AT_ONCE = 5 * 1024 * 1024, 2
_OPEN_SECONDS = 30.0
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


class S3Blobs:
    """The blob store in `bucket` under `prefix`. See the port for the guarantees."""

    def __init__(self, bucket: str, prefix: str = "", *, endpoint: str = "", region: str = "") -> None:
        self._place = f"s3://{bucket}/{prefix}".rstrip("/")
        endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        named = {"endpoint": endpoint, "region": region}
        try:
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                config={key: value for key, value in named.items() if value},  # type: ignore[arg-type]
                client_options={
                    "allow_http": endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=5),
                    "read_timeout": timedelta(seconds=30),  # without a byte
                    "timeout": timedelta(hours=1),  # a whole blob, read by the slowest reader
                },
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
            )
        except (BaseError, ValueError) as error:
            raise ConfigurationError(
                f"{self._place} is not a place for blobs: {_first_line(error)}"
            ) from error

    async def open(self) -> None:
        """Raises ConfigurationError when there is no such bucket, or no permission to list it."""
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                with self._explained():
                    async for _ in obstore.list(self._store, chunk_size=1):
                        break
        except BlobsRefused as error:
            raise ConfigurationError(str(error)) from error
        except TimeoutError as error:
            raise Unavailable(f"{self._place} does not answer") from error

    async def close(self) -> None:
        """Connections go with the object."""

    async def put(self, chunks: AsyncIterable[bytes], *, limit: int = LIMIT, digest: str = "") -> Blob:
        found, size = hashlib.sha256(), 0
        with tempfile.TemporaryFile(prefix="parley-blob-") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise BlobTooLarge(f"more than the {limit} bytes that a blob may have")
                try:
                    await asyncio.to_thread(_write, file, found, chunk)
                except OSError as error:
                    raise Unavailable(
                        f"no room to take a blob in {tempfile.gettempdir()}: {error.strerror}; TMPDIR names another"
                    ) from error
            name = found.hexdigest()
            if digest and name != digest:
                raise BlobDamaged(
                    f"the content is not {digest[:12]} but {name[:12]}: it was changed on the way"
                )
            there = await self.stat(name)
            if there is None or there.size != size or there.touched < time.time() - FRESH:
                file.seek(0)
                with self._explained(name):
                    await obstore.put_async(
                        self._store, _key(name), file, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE
                    )
        return Blob(name, size, time.time())

    async def stat(self, digest: str) -> Blob | None:
        try:
            with self._explained(digest):
                meta = await obstore.head_async(self._store, _key(checked(digest)))
        except BlobMissing:
            return None
        return Blob(digest, meta["size"], meta["last_modified"].timestamp())

    async def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        if end is not None and end <= start:
            return
        wanted: dict[str, object] = {}
        if end is not None:
            wanted["range"] = (start, end)
        elif start:
            wanted["range"] = {"offset": start}
        with self._explained(digest):
            answer = await obstore.get_async(self._store, _key(checked(digest)), options=wanted)  # type: ignore[arg-type]
            async for chunk in answer.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    async def touch(self, digest: str) -> bool:
        # S3 copies nothing onto itself unchanged, so there and back.
        draft = f"drafts/{secrets.token_hex(12)}"
        try:
            with self._explained(digest):
                await obstore.copy_async(self._store, _key(checked(digest)), draft)
                await obstore.copy_async(self._store, draft, _key(digest))
                await obstore.delete_async(self._store, draft)
        except BlobMissing:
            return False
        return True

    async def delete(self, digest: str) -> bool:
        there = await self.stat(digest) is not None
        with self._explained(digest):
            await obstore.delete_async(self._store, _key(digest))
        return there

    async def older_than(self, seconds: float) -> AsyncIterator[Blob]:
        now = time.time()
        with self._explained():
            async for page in obstore.list(self._store, chunk_size=1000):
                for meta in page:
                    folder, _, name = meta["path"].rpartition("/")
                    touched = meta["last_modified"].timestamp()
                    if folder == "drafts" and touched < now - _DRAFT_SECONDS:
                        await obstore.delete_async(self._store, meta["path"])
                    elif is_digest(folder + name) and touched < now - seconds:
                        yield Blob(folder + name, meta["size"], touched)

    @contextmanager
    def _explained(self, digest: str = "") -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            said = _CODE.search(str(error))
            code = said[1] if said else ""
            if code == "NoSuchBucket":
                raise BlobsRefused(f"{self._place}: there is no such bucket; create it") from error
            missing = isinstance(error, FileNotFoundError)
            if missing and code in ("", "NoSuchKey", "NotFound"):
                raise BlobMissing(f"blob {digest[:12]} is not here (any more)") from error
            if missing or " 403 " in str(error) or isinstance(error, _DENIED):
                reason = f" ({code})" if code else ""
                raise BlobsRefused(
                    f"{self._place} refuses this process{reason}; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
                    "and what they may do there"
                ) from error
            raise Unavailable(
                f"{self._place} does not answer as it should: {code or _first_line(error)}"
            ) from error


_DENIED = (PermissionDeniedError, UnauthenticatedError)


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest[2:]}"


def _write(file: IO[bytes], found: "hashlib._Hash", chunk: bytes) -> None:
    found.update(chunk)
    file.write(chunk)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]
