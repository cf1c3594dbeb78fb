"""The blob store's contract, on a folder and on a real S3 server."""

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parley_core.blobs import (
    BlobDamaged,
    BlobError,
    BlobMissing,
    BlobStore,
    BlobTooLarge,
    digest_of,
    put_bytes,
    read_bytes,
    verified,
)

MIB = 1024 * 1024
NONE = "0" * 64


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def all_of(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def digests(store: BlobStore, seconds: float = -60.0) -> set[str]:
    """What the store lists, by default everything."""
    return {blob.digest async for blob in store.older_than(seconds)}


@pytest.mark.parametrize("size", [0, 1, 5, 3 * MIB + 7, 12 * MIB])
async def test_what_was_put_comes_back_under_the_digest_of_its_content(store: BlobStore, size: int) -> None:
    data = os.urandom(size)
    blob = await store.put(pieces(data))
    assert (blob.digest, blob.size) == (digest_of(data), size)
    assert await read_bytes(store, blob.digest, limit=size) == data
    found = await store.stat(blob.digest)
    assert found is not None
    assert found.size == size
    assert abs(found.touched - blob.touched) < 30


async def test_any_range_can_be_read(store: BlobStore) -> None:
    data = os.urandom(3 * MIB)
    digest = (await put_bytes(store, data)).digest
    for start, end in ((0, None), (0, 1), (5, 5), (10, 20), (MIB - 1, 2 * MIB + 1), (3 * MIB - 1, None)):
        assert await all_of(store.read(digest, start, end)) == data[start:end]


async def test_the_same_content_is_one_blob_however_often_and_by_whomever_it_is_put(store: BlobStore) -> None:
    data = os.urandom(MIB)
    blobs = await asyncio.gather(*(store.put(pieces(data, 50_000 + i)) for i in range(8)))
    assert {blob.digest for blob in blobs} == {digest_of(data)} == await digests(store)
    assert await read_bytes(store, digest_of(data), limit=MIB) == data


async def test_what_is_not_there_is_said_to_be_missing(store: BlobStore) -> None:
    assert await store.stat(NONE) is None
    assert not await store.touch(NONE)
    assert not await store.delete(NONE)
    with pytest.raises(BlobMissing, match="not here"):
        await all_of(store.read(NONE))
    with pytest.raises(BlobMissing):
        await all_of(verified(store, NONE))


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
async def test_an_odd_name_is_refused(store: BlobStore, name: str) -> None:
    for call in (store.stat(name), store.touch(name), store.delete(name), all_of(store.read(name))):
        with pytest.raises(BlobError, match="hex digits"):
            await call


async def test_too_much_content_leaves_nothing(store: BlobStore) -> None:
    data = os.urandom(2 * MIB)
    with pytest.raises(BlobTooLarge, match="more than"):
        await store.put(pieces(data), limit=len(data) - 1)
    assert await digests(store) == set()
    assert (await store.put(pieces(data), limit=len(data))).size == len(data)
    with pytest.raises(BlobTooLarge):
        await read_bytes(store, digest_of(data), limit=MIB)


async def test_content_that_is_not_what_was_announced_leaves_nothing(store: BlobStore) -> None:
    with pytest.raises(BlobDamaged, match="changed on the way"):
        await store.put(pieces(b"hello"), digest=digest_of(b"hallo"))
    assert await digests(store) == set()
    await store.put(pieces(b"hello"), digest=digest_of(b"hello"))


async def test_a_put_that_fails_or_is_cancelled_in_the_middle_leaves_nothing(store: BlobStore) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * MIB
        raise OSError("the sender is gone")

    with pytest.raises(OSError, match="the sender is gone"):
        await store.put(breaks())
    begun = asyncio.Event()

    async def hangs() -> AsyncIterator[bytes]:
        yield b"x" * MIB
        begun.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(store.put(hangs()))
    await begun.wait()
    assert await digests(store) == set()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await digests(store) == set()


async def test_old_blobs_are_listed_and_deleted_and_a_touched_one_is_young(store: BlobStore) -> None:
    old, used = [(await put_bytes(store, data)).digest for data in (b"old", b"used")]
    assert await digests(store, 60.0) == set()
    await asyncio.sleep(2.1)  # the times of a bucket are whole seconds
    assert await store.touch(used)
    assert await digests(store, 1.5) == {old}
    assert await store.delete(old)
    assert await store.stat(old) is None
    assert await read_bytes(store, used, limit=9) == b"used"
    assert await digests(store) == {used}


async def test_a_reader_that_stops_early_leaves_nothing_open(store: BlobStore) -> None:
    digest = (await put_bytes(store, os.urandom(8 * MIB))).digest
    for _ in range(20):
        chunks = verified(store, digest)
        async for _ in chunks:
            break
        await chunks.aclose()
    files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _open(fd)]
    assert not [name for name in files if digest[2:] in name]


def _open(fd: str) -> bool:
    return Path(f"/proc/self/fd/{fd}").is_symlink()


async def test_memory_stays_flat(store: BlobStore) -> None:
    async def much() -> AsyncIterator[bytes]:
        block = os.urandom(MIB)
        for _ in range(64):
            yield block

    tracemalloc.start()
    try:
        blob = await store.put(much())
        size = 0
        async for chunk in verified(store, blob.digest):
            size += len(chunk)
            del chunk
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == 64 * MIB
    assert peak < 16 * MIB
