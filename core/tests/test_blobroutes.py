"""Blobs over HTTP: whole, in ranges, checked on the way; put by who is let through."""

import os
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from parley_core.bloblinks import UrlSigner
from parley_core.blobroutes import put_route, read_route
from parley_core.blobs import digest_of, put_bytes
from parley_core.blobstores.file import FileBlobs

SIGNER = UrlSigner(b"k" * 32, "http://blobs")
DATA = os.urandom(2_500_000)
BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    store = FileBlobs(tmp_path)
    app = Starlette(routes=[read_route(store, SIGNER), put_route(store, SIGNER, limit=3_000_000)])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://blobs") as made:
        yield made


@pytest.fixture
async def url(client: httpx.AsyncClient, tmp_path: Path) -> str:
    return SIGNER.sign((await put_bytes(FileBlobs(tmp_path), DATA)).digest)


async def test_a_blob_is_read_whole_and_its_head_alone(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.get(url)
    assert (answer.status_code, answer.content == DATA) == (200, True)
    assert answer.headers["etag"] == f'"{digest_of(DATA)}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == "attachment"
    head = await client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(DATA))
    assert head.headers["accept-ranges"] == "bytes"
    seen = await client.get(url, headers={"If-None-Match": f'W/"x", "{digest_of(DATA)}"'})
    assert (seen.status_code, seen.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=2400000-", 2_400_000, None),
        ("bytes=-7", -7, None),
        ("bytes=-99999999", 0, None),
        ("bytes=0-99999999", 0, None),
    ],
)
async def test_a_range_is_served(
    client: httpx.AsyncClient, url: str, asked: str, start: int, end: int | None
) -> None:
    answer = await client.get(url, headers={"Range": asked})
    assert (answer.status_code, answer.content == DATA[start:end]) == (206, True)
    first = start if start >= 0 else len(DATA) + start
    last = first + len(answer.content) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,5-6", "lines=1-2", "bytes=-", "nonsense"])
async def test_what_is_no_single_range_is_answered_whole(
    client: httpx.AsyncClient, url: str, asked: str
) -> None:
    answer = await client.get(url, headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, len(DATA))


async def test_a_range_outside_is_not_satisfiable_and_one_of_another_content_is_not_served(
    client: httpx.AsyncClient, url: str
) -> None:
    for asked in (f"bytes={len(DATA)}-", "bytes=-0"):
        answer = await client.get(url, headers={"Range": asked})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(DATA)}")
    changed = await client.get(url, headers={"Range": "bytes=0-0", "If-Range": '"other"'})
    assert (changed.status_code, len(changed.content)) == (200, len(DATA))


async def test_who_has_no_valid_signature_learns_nothing(client: httpx.AsyncClient, url: str) -> None:
    for wrong in (
        url.replace("signature=", "signature=0"),
        url.replace(digest_of(DATA), "0" * 64),
        url.split("?")[0],
        SIGNER.sign(digest_of(DATA), lifetime=-1),
    ):
        assert (await client.get(wrong)).status_code == 403
    assert (await client.get(SIGNER.sign("0" * 64))).status_code == 404


async def test_a_damaged_blob_breaks_the_answer_off(
    client: httpx.AsyncClient, url: str, tmp_path: Path
) -> None:
    digest = digest_of(DATA)
    (tmp_path / digest[:2] / digest[2:]).write_bytes(DATA[:-1] + b"?")
    with pytest.raises(Exception, match="damaged"):
        await client.get(url)


async def test_what_is_posted_is_answered_with_where_it_is(client: httpx.AsyncClient) -> None:
    content_digest = "sha-256=:" + b64encode(bytes.fromhex(digest_of(DATA))).decode() + ":"
    answer = await client.post(
        "/parley/v1/blobs", content=DATA, headers={**BINARY, "Content-Digest": content_digest}
    )
    assert answer.status_code == 201
    told = answer.json()
    assert (told["digest"], told["size"]) == (digest_of(DATA), len(DATA))
    assert (await client.get(told["url"])).content == DATA


async def test_what_cannot_be_taken_is_refused_with_a_reason(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000

    other = "sha-256=:" + b64encode(bytes.fromhex(digest_of(b"other"))).decode() + ":"
    for headers, content, status, said in (
        (BINARY, b"x" * 3_000_001, 413, "3000000 bytes"),
        (BINARY, endless(), 413, "3000000 bytes"),
        ({**BINARY, "Content-Digest": other}, b"x", 400, "changed on the way"),
        ({**BINARY, "Content-Digest": "md5=:x:"}, b"x", 400, "sha-256"),
        ({"Content-Type": "text/plain"}, b"x", 415, "application/octet-stream"),
        ({}, b"x", 415, "application/octet-stream"),
    ):
        answer = await client.post("/parley/v1/blobs", content=content, headers=headers)  # type: ignore[arg-type]
        assert (answer.status_code, said in answer.json()["error"]) == (status, True), answer.text
