"""Blobs are what their name says, and a URL reads one blob for a time."""

import threading
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from parley_core.blobs import BlobError, BlobStore, UrlSigner, blob_routes, digest_in, digest_of, load_key
from parley_core.errors import ConfigurationError

KEY = b"k" * 32


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
async def test_a_blob_comes_back_under_the_digest_of_its_content(tmp_path: Path, scheme: str) -> None:
    store = BlobStore(f"{scheme}{tmp_path}/blobs")
    digest = await store.put(b"hello")
    assert digest == digest_of(b"hello") == await store.put(b"hello")
    assert await store.get(digest) == b"hello"
    assert await store.has(digest)
    assert not await store.has("0" * 64)


async def test_damaged_missing_large_and_oddly_named_blobs_are_refused(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path), limit=10)
    digest = await store.put(b"hello")
    (tmp_path / digest[:2] / digest[2:]).write_bytes(b"HELLO")
    with pytest.raises(BlobError, match="damaged"):
        await store.get(digest)
    (tmp_path / digest[:2] / digest[2:]).write_bytes(b"hello" * 3)
    with pytest.raises(BlobError, match="more than"):
        await store.get(digest)
    with pytest.raises(BlobError, match="not here"):
        await store.get("0" * 64)
    with pytest.raises(BlobError, match="hex digits"):
        await store.get("../../etc/passwd")
    with pytest.raises(BlobError, match="more than"):
        await store.put(b"x" * 11)
    with pytest.raises(ConfigurationError, match="not a place"):
        BlobStore("nosuchscheme://x")


async def test_a_signed_url_reads_its_blob_until_it_expires(tmp_path: Path) -> None:
    now = [1000.0]
    store = BlobStore(str(tmp_path))
    digest = await store.put(b"hello")
    url = UrlSigner(KEY, "http://blobs/").sign(digest, lifetime=60)
    assert digest_in(url) == digest
    app = Starlette(routes=list(blob_routes(store, KEY)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://blobs") as client:
        answer = await client.get(url)
        assert (answer.status_code, answer.content) == (200, b"hello")
        assert (await client.get(url.replace("signature=", "signature=0"))).status_code == 403
        assert (await client.get(url.replace(digest, "0" * 64))).status_code == 403
        assert (await client.get(url.split("?")[0])).status_code == 403
        assert (await client.get(url.replace("expires=", "expires=9"))).status_code == 403
        assert (await client.get(UrlSigner(KEY).sign(digest, lifetime=-1))).status_code == 403
        assert (await client.get(UrlSigner(KEY).sign("0" * 64))).status_code == 404
    signer = UrlSigner(KEY, clock=lambda: now[0])
    parts = httpx.URL(signer.sign(digest, lifetime=60)).params
    assert signer.verify(digest, parts["expires"], parts["signature"])
    now[0] += 61
    assert not signer.verify(digest, parts["expires"], parts["signature"])
    assert not signer.verify(digest, "²", parts["signature"])


def test_a_key_is_made_once_even_by_many_at_once_and_is_private(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(load_key(tmp_path / "d/key"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert (tmp_path / "d/key").stat().st_mode & 0o077 == 0
    (tmp_path / "bad").write_text("no")
    with pytest.raises(ConfigurationError, match="does not hold a key"):
        load_key(tmp_path / "bad")
