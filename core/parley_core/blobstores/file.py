"""Blobs in a folder: one file each, written beside and renamed when complete; its time is when it was last used."""

import asyncio
import errno
import hashlib
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

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

_DRAFT_SECONDS = 24 * 3600.0
"""Age at which a draft is surely nobody's: its writer was killed."""


class FileBlobs:
    """The blob store in `folder`, which is made when the first blob comes. See the port for the guarantees."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._drafts = self._folder / "drafts"

    async def open(self) -> None:
        """Raises ConfigurationError when the folder is there and is none, or cannot be written."""
        if self._folder.exists() and not (
            self._folder.is_dir() and os.access(self._folder, os.W_OK | os.X_OK)
        ):
            raise ConfigurationError(f"{self._folder} is not a folder that blobs can be written to")

    async def close(self) -> None:
        """Nothing is held."""

    async def put(self, chunks: AsyncIterable[bytes], *, limit: int = LIMIT, digest: str = "") -> Blob:
        draft = self._drafts / secrets.token_hex(12)
        found, size = hashlib.sha256(), 0
        with self._explained():
            file = await asyncio.to_thread(_create, draft)
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise BlobTooLarge(f"more than the {limit} bytes that a blob may have")
                with self._explained():
                    await asyncio.to_thread(_write, file, found, chunk)
            name = found.hexdigest()
            if digest and name != digest:
                raise BlobDamaged(
                    f"the content is not {digest[:12]} but {name[:12]}: it was changed on the way"
                )
            with self._explained():
                await asyncio.to_thread(_publish, file, draft, self._place(name))
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        finally:
            file.close()
        return Blob(name, size, time.time())

    async def stat(self, digest: str) -> Blob | None:
        place = self._place(checked(digest))
        try:
            with self._explained():
                found = place.stat()
        except BlobMissing:
            return None
        return Blob(digest, found.st_size, found.st_mtime)

    async def read(self, digest: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        place = self._place(checked(digest))
        with self._explained():
            file = await asyncio.to_thread(open, place, "rb", 0)
        try:
            file.seek(start)
            while end is None or start < end:
                wanted = CHUNK if end is None else min(CHUNK, end - start)
                with self._explained():
                    chunk = await asyncio.to_thread(file.read, wanted)
                if not chunk:
                    break
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    async def touch(self, digest: str) -> bool:
        place = self._place(checked(digest))
        try:
            with self._explained():
                os.utime(place)
        except BlobMissing:
            return False
        return True

    async def delete(self, digest: str) -> bool:
        place = self._place(checked(digest))
        try:
            with self._explained():
                await asyncio.to_thread(place.unlink)
        except BlobMissing:
            return False
        return True

    async def older_than(self, seconds: float) -> AsyncIterator[Blob]:
        now = time.time()
        with self._explained():
            await asyncio.to_thread(self._drop_drafts, now - _DRAFT_SECONDS)
            folders = await asyncio.to_thread(_listed, self._folder)
        for folder in folders:
            if len(folder.name) != 2:
                continue
            with self._explained():
                found = await asyncio.to_thread(_blobs_in, folder)
            for blob in found:
                if blob.touched < now - seconds:
                    yield blob

    def _drop_drafts(self, before: float) -> None:
        for draft in _listed(self._drafts):
            if _time_of(draft) < before:
                draft.unlink(missing_ok=True)

    def _place(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest[2:]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise BlobMissing(f"blob {_named(error.filename)} is not here (any more)") from error
        except (PermissionError, NotADirectoryError) as error:
            raise BlobsRefused(f"{self._folder} cannot be used for blobs: {error.strerror}") from error
        except OSError as error:
            advice = "; make room on its disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            raise Unavailable(
                f"the blobs in {self._folder} cannot be had now: {error.strerror}{advice}"
            ) from error


def _create(draft: Path) -> BinaryIO:
    draft.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", 0)


def _write(file: BinaryIO, found: "hashlib._Hash", chunk: bytes) -> None:
    found.update(chunk)
    left = memoryview(chunk)
    while left:  # unbuffered: a write may take a part
        left = left[file.write(left) :]


def _publish(file: BinaryIO, draft: Path, place: Path) -> None:
    # On the disk before it has its name, and its name on the disk before anyone is told: power may fail.
    os.fsync(file.fileno())
    place.parent.mkdir(exist_ok=True)
    os.replace(draft, place)  # also over a blob that is there: it is as new, and whole if it was damaged
    for folder in (place.parent, place.parent.parent):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _blobs_in(folder: Path) -> list[Blob]:
    found = []
    for path in _listed(folder):
        digest = folder.name + path.name
        if is_digest(digest) and (status := _status(path)) is not None:
            found.append(Blob(digest, status.st_size, status.st_mtime))
    return found


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _time_of(path: Path) -> float:
    status = _status(path)
    return status.st_mtime if status is not None else float("inf")


def _named(path: object) -> str:
    parts = Path(str(path)).parts
    return (parts[-2] + parts[-1])[:12] if len(parts) > 1 else "asked for"
