"""What is particular to blobs in a bucket: what its server or its operator can do to them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from parley_core.blobs import BlobsRefused, digest_of, put_bytes, read_bytes
from parley_core.blobstores import blob_store
from parley_core.blobstores.s3 import S3Blobs
from parley_core.errors import ConfigurationError, Unavailable

pytestmark = pytest.mark.cluster

CALLS: list[Callable[[Any], Any]] = [
    lambda store: put_bytes(store, b"x"),
    lambda store: store.stat("0" * 64),
    lambda store: read_bytes(store, "0" * 64, limit=9),
]


async def test_a_bucket_that_is_not_there_is_told_from_a_blob_that_is_not(s3_url: str) -> None:
    store = blob_store(s3_url.replace("s3://", "s3://no"))
    with pytest.raises(ConfigurationError, match="no such bucket; create it"):
        await store.open()
    with pytest.raises(BlobsRefused, match="no such bucket"):
        await put_bytes(store, b"x")


async def test_a_wrong_secret_is_said_to_be_one(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-not-to-be-shown")
    store = blob_store(s3_url)
    with pytest.raises(ConfigurationError, match="check AWS_ACCESS_KEY_ID") as refused:
        await store.open()
    assert "not-to-be-shown" not in str(refused.value)
    for call in CALLS:
        with pytest.raises(BlobsRefused, match="refuses this process"):
            await call(store)


async def test_a_server_that_is_away_is_unavailable_and_used_again_when_it_is_back(
    own_s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_s3()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store = blob_store(server.url(server.create_bucket()))
    blob = await put_bytes(store, b"before")
    server.kill()
    for call in CALLS:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="does not answer"):
            await call(store)
        assert time.monotonic() - started < 30
    await asyncio.to_thread(server.start)
    assert await read_bytes(store, blob.digest, limit=9) == b"before"
    await put_bytes(store, b"after")


async def test_a_server_that_is_restarted_during_a_call_goes_unnoticed(
    own_s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_s3()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store = blob_store(server.url(server.create_bucket()))
    data = bytes(12 * 2**20)
    server.pause()
    putting = asyncio.create_task(put_bytes(store, data))
    await asyncio.sleep(0.5)
    assert not putting.done()
    server.resume()
    assert (await putting).digest == digest_of(data)


async def test_blobs_of_one_bucket_are_apart_by_prefix(s3_url: str) -> None:
    one, two = (blob_store(s3_url.replace("?", f"/{name}?")) for name in ("a/one", "a/two"))
    digest = (await put_bytes(one, b"x")).digest
    assert await two.stat(digest) is None
    assert [blob.digest async for blob in one.older_than(-60.0)] == [digest]
    assert [blob async for blob in two.older_than(-60.0)] == []


async def test_what_is_there_and_fresh_is_not_sent_again(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import obstore

    sent: list[str] = []
    put_async = obstore.put_async

    async def counted(store: Any, path: str, *args: Any, **options: Any) -> Any:
        sent.append(path)
        return await put_async(store, path, *args, **options)

    monkeypatch.setattr(obstore, "put_async", counted)
    store = blob_store(s3_url)
    assert isinstance(store, S3Blobs)
    for _ in range(3):
        await put_bytes(store, b"the same")
    assert len(sent) == 1
    monkeypatch.setattr("parley_core.blobstores.s3.FRESH", -60.0)
    await put_bytes(store, b"the same")
    assert len(sent) == 2
