"""What is particular to blobs in a folder, and to addresses. (The contract is tested on all backends elsewhere.)"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parley_core.blobs import BlobDamaged, BlobsRefused, digest_of, put_bytes, read_bytes, verified
from parley_core.blobstores import blob_store
from parley_core.blobstores.file import FileBlobs
from parley_core.errors import ConfigurationError


def file_of(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / digest[2:]


async def test_a_damaged_blob_is_noticed_before_its_end_and_mended_by_putting_it_again(
    tmp_path: Path,
) -> None:
    store, data = FileBlobs(tmp_path), os.urandom(3_000_000)
    digest = (await put_bytes(store, data)).digest
    for wrong in (data[:-1] + b"?", data[:-1], b""):
        file_of(tmp_path, digest).write_bytes(wrong)
        given: list[bytes] = []
        with pytest.raises(BlobDamaged, match="damaged"):
            await _read_into(given, verified(store, digest))
        assert sum(map(len, given)) < len(data)
    await put_bytes(store, data)
    assert await read_bytes(store, digest, limit=len(data)) == data


async def _read_into(given: list[bytes], chunks: AsyncIterator[bytes]) -> None:
    async for chunk in chunks:
        given.append(chunk)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


_WRITER = """
import asyncio, sys
from parley_core.blobstores.file import FileBlobs

async def endless():
    while True:
        yield b"x" * 100_000
        print("more", flush=True)
        await asyncio.sleep(0.01)

asyncio.run(FileBlobs(sys.argv[1]).put(endless()))
"""


async def test_a_writer_that_is_killed_leaves_nothing_to_be_seen_and_its_draft_goes_in_a_day(
    tmp_path: Path,
) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(tmp_path), stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    for _ in range(5):
        assert await writer.stdout.readline() == b"more\n"
    writer.kill()
    await writer.wait()
    store = FileBlobs(tmp_path)
    (draft,) = files_in(tmp_path)
    assert [blob async for blob in store.older_than(-60.0)] == []
    assert draft.exists()
    os.utime(draft, (time.time() - 25 * 3600,) * 2)
    assert [blob async for blob in store.older_than(-60.0)] == []
    assert not draft.exists()


async def test_a_folder_is_made_when_it_is_needed_and_not_before(tmp_path: Path) -> None:
    store = FileBlobs(tmp_path / "a/b")
    await store.open()
    assert [blob async for blob in store.older_than(0)] == []
    assert os.listdir(tmp_path) == []
    await put_bytes(store, b"x")
    assert file_of(tmp_path / "a/b", digest_of(b"x")).stat().st_mode & 0o077 == 0


async def test_a_place_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="not a folder"):
        await FileBlobs(tmp_path / "file").open()
    with pytest.raises(BlobsRefused, match="cannot be used"):
        await put_bytes(FileBlobs(tmp_path / "file"), b"x")


@pytest.mark.parametrize(
    "url", ["", "gopher://x", "file://", "file://host/x", "s3:///x", "s3://bucket?nonsense=1"]
)
def test_an_address_of_no_known_kind_is_refused_with_what_to_use(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"use file:///folder|use \?endpoint"):
        blob_store(url)


async def test_plain_paths_and_file_urls_name_the_same_folder(tmp_path: Path) -> None:
    digest = (await put_bytes(blob_store(f"file://{tmp_path}/with%20space"), b"x")).digest
    assert await blob_store(f"{tmp_path}/with space").stat(digest) is not None


async def test_what_the_sender_raises_is_raised(tmp_path: Path) -> None:
    async def gone() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await FileBlobs(tmp_path).put(gone())
