"""When large parts cannot be put away, nothing is lost; and what no task uses any more goes."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import pytest
from a2a.types import a2a_pb2 as pb

from parley_core.bloblinks import UrlSigner
from parley_core.blobs import LIMIT, Blob, BlobError, BlobTooLarge, put_bytes
from parley_core.blobstores.file import FileBlobs
from parley_core.errors import ConfigurationError, Unavailable
from parley_runtime.cleaner import BlobCleaner
from parley_runtime.payloads import Payloads, current_payloads, open_part, payloads_for, write_part
from parley_runtime.settings import HostSettings

DAY = 24 * 3600.0
LARGE = bytes(400_000)


def payloads(folder: Path, **options: float) -> Payloads:
    return Payloads(FileBlobs(folder), UrlSigner(b"k" * 32, "http://blobs"), **options)  # type: ignore[arg-type]


def age(folder: Path, digest: str, seconds: float) -> None:
    os.utime(folder / digest[:2] / digest[2:], (time.time() - seconds,) * 2)


class FailingBlobs(FileBlobs):
    """A fake: a folder that does not answer while `away`."""

    away = True

    async def put(self, chunks: AsyncIterable[bytes], *, limit: int = LIMIT, digest: str = "") -> Blob:
        if self.away:
            raise Unavailable("the blobs are away")
        return await super().put(chunks, limit=limit, digest=digest)

    async def stat(self, digest: str) -> Blob | None:
        if self.away:
            raise Unavailable("the blobs are away")
        return await super().stat(digest)

    async def older_than(self, seconds: float) -> AsyncIterator[Blob]:
        if self.away:
            raise Unavailable("the blobs are away")
        async for blob in super().older_than(seconds):
            yield blob


async def test_a_blob_goes_when_it_was_not_used_for_long_enough(tmp_path: Path) -> None:
    store = FileBlobs(tmp_path)
    old, young = [(await put_bytes(store, data)).digest for data in (b"old", b"young")]
    age(tmp_path, old, 38 * DAY)
    age(tmp_path, young, 36 * DAY)
    cleaner = BlobCleaner(store, 37 * DAY)
    assert await cleaner.clean() == 1
    assert await store.stat(old) is None
    assert await store.stat(young) is not None
    assert await cleaner.clean() == 0


async def test_the_cleaner_goes_on_through_times_when_the_store_is_away(tmp_path: Path) -> None:
    store = FailingBlobs(tmp_path)
    cleaning = asyncio.create_task(BlobCleaner(store, 10.0).run())  # every second, then
    store.away = False
    digest = (await put_bytes(store, b"old")).digest
    age(tmp_path, digest, 60.0)
    store.away = True
    await asyncio.sleep(1.5)
    store.away = False
    async with asyncio.timeout(10):
        while await store.stat(digest) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    cleaning.cancel()


async def test_a_host_keeps_blobs_a_margin_longer_than_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    folder, told = tmp_path / "home/blobs", {"retain_tasks": 2 * DAY, "blob_margin": DAY}
    host = payloads_for(HostSettings.model_validate({"blobs": str(folder), **told}))
    old, young = [(await put_bytes(FileBlobs(folder), data)).digest for data in (b"old", b"young")]
    age(folder, old, 3 * DAY + 60)
    age(folder, young, 3 * DAY - 60)
    cleaning = asyncio.create_task(host.clean())
    async with asyncio.timeout(10):
        while await FileBlobs(folder).stat(old) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    cleaning.cancel()
    assert await FileBlobs(folder).stat(young) is not None


async def test_what_a_message_or_a_task_that_goes_on_names_is_used_again(tmp_path: Path) -> None:
    used = payloads(tmp_path)
    assert used.signer is not None
    store = FileBlobs(tmp_path)
    named, kept, other = [(await put_bytes(store, data)).digest for data in (b"named", b"kept", b"other")]
    for digest in (named, kept, other):
        age(tmp_path, digest, 30 * DAY)
    await used.check_in(pb.Message(parts=[pb.Part(url=used.signer.sign(named)), pb.Part(url="http://x/y")]))
    history = [pb.Message(parts=[pb.Part(url=used.signer.sign(kept))])]
    await used.use_again(pb.Task(history=history))
    assert await BlobCleaner(store, 7 * DAY).clean() == 1
    assert await store.stat(other) is None


async def test_only_who_has_a_valid_link_keeps_a_blob(tmp_path: Path) -> None:
    store, used = FileBlobs(tmp_path), payloads(tmp_path)
    digest = (await put_bytes(store, b"x")).digest
    age(tmp_path, digest, 30 * DAY)
    forged = UrlSigner(b"o" * 32).sign(digest)
    await used.check_in(pb.Message(parts=[pb.Part(url=forged)]))
    assert await BlobCleaner(store, 7 * DAY).clean() == 1


async def test_a_store_that_is_away_refuses_large_messages_for_now_and_lets_small_ones_pass(
    tmp_path: Path,
) -> None:
    signer = UrlSigner(b"k" * 32)
    away = Payloads(FailingBlobs(tmp_path), signer)
    with pytest.raises(Unavailable):
        await away.check_in(pb.Message(parts=[pb.Part(raw=LARGE)]))
    assert (
        await away.check_in(pb.Message(parts=[pb.Part(text="x"), pb.Part(url=signer.sign("0" * 64))])) == ()
    )


async def test_without_a_place_everything_travels_in_its_message() -> None:
    none = Payloads()
    message = pb.Message(parts=[pb.Part(raw=LARGE)])
    assert await none.check_in(message) == ()
    assert message.parts[0].raw == LARGE
    assert none.routes() == ((), ())
    await asyncio.gather(none.open(), none.clean(), none.close())
    token = current_payloads.set(none)
    try:
        assert [chunk async for chunk in open_part(pb.Part(text="inline"))] == [b"inline"]
        with pytest.raises(BlobError, match="PARLEY_BLOBS"):
            await write_part(open_part(pb.Part(text="x")))
        with pytest.raises(BlobError, match="PARLEY_BLOBS"):
            await anext(open_part(pb.Part(url="http://x")))
    finally:
        current_payloads.reset(token)


async def test_parts_are_opened_and_written_inside_an_execution_alone() -> None:
    with pytest.raises(RuntimeError, match="inside an execution"):
        open_part(pb.Part(text="x"))


async def test_a_written_part_is_bounded(tmp_path: Path) -> None:
    token = current_payloads.set(payloads(tmp_path, blob_limit=1000))
    try:
        with pytest.raises(BlobTooLarge):
            await write_part(open_part(pb.Part(raw=LARGE)))
    finally:
        current_payloads.reset(token)


async def test_a_message_that_is_too_large_for_this_worker_stays_in_part_a_url(tmp_path: Path) -> None:
    small = payloads(tmp_path, restore_limit=500_000)
    message = pb.Message(parts=[pb.Part(raw=LARGE), pb.Part(raw=LARGE[1:])])
    claims = await small.check_in(message)
    await small.check_out(message, claims)
    assert [part.WhichOneof("content") for part in message.parts] == ["raw", "url"]


@pytest.mark.parametrize(
    ("settings", "place", "url"),
    [
        ({"store": "sqlite:///{}/a.db"}, "a.blobs", "http://127.0.0.1:9999"),
        (
            {"store": "sqlite:///{}/a.db", "public_url": "https://agent.example"},
            "a.blobs",
            "https://agent.example",
        ),
        ({"store": "postgresql://x", "blobs": "file://{}/b", "blob_url": "http://b"}, "b", "http://b"),
    ],
)
async def test_where_large_parts_go(tmp_path: Path, settings: dict[str, str], place: str, url: str) -> None:
    told = {name: value.format(tmp_path) for name, value in settings.items()}
    made = payloads_for(HostSettings.model_validate(told))
    assert os.listdir(tmp_path) == []
    message = pb.Message(parts=[pb.Part(raw=LARGE)])
    (claim,) = await made.check_in(message)
    assert (tmp_path / place / claim.digest[:2] / claim.digest[2:]).read_bytes() == LARGE
    assert message.parts[0].url.startswith(f"{url}/parley/v1/blobs/")
    assert set(os.listdir(tmp_path)) == {place, "blob.key"}


def test_postgres_without_a_place_has_none_and_s3_without_a_key_is_refused() -> None:
    assert payloads_for(HostSettings(store="postgresql://x/y")).store is None
    with pytest.raises(ConfigurationError, match="PARLEY_BLOB_KEY_FILE"):
        payloads_for(HostSettings(store="postgresql://x/y", blobs="s3://bucket"))
