"""Small parts travel inside messages, large ones by signed URL, and neither is believed unchecked."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from a2a.types.a2a_pb2 import Part
from google.protobuf.struct_pb2 import Struct, Value
from orchestrator_kit import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parley_agents.bundles import Exchange, data_of
from parley_agents.settings import AgentSettings
from parley_core.bloblinks import UrlSigner, key_file, load_key
from parley_core.blobroutes import read_route
from parley_core.blobs import BlobError, put_bytes
from parley_core.blobstores import blob_store
from parley_core.errors import Unavailable
from parley_core.urlguard import UrlGuard, UrlRefused

LARGE = b"x" * 300_000


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[AgentSettings]:
    """An agent's settings with a blob folder that is served on a socket."""
    blobs = tmp_path / "blobs"

    async def wrong(request: Request) -> Response:
        return Response(b"something else")

    app = Starlette(routes=[Route("/wrong/parley/v1/blobs/{digest}", wrong)])
    async with serving(app) as url:
        found = AgentSettings(blobs=str(blobs), blob_url=url)
        app.router.routes.append(read_route(blob_store(found.blobs), _signer(found)))
        yield found


def _signer(settings: AgentSettings) -> UrlSigner:
    return UrlSigner(load_key(key_file(settings.blobs, None)), settings.blob_url)


async def test_small_parts_travel_inside_and_large_ones_by_signed_url(settings: AgentSettings) -> None:
    exchange = Exchange.from_settings(settings)
    small, large = (
        await exchange.part(b"hi", "text/x-diff", "a"),
        await exchange.part(LARGE, "text/x-diff", "b"),
    )
    assert (small.raw, small.media_type, small.filename) == (b"hi", "text/x-diff", "a")
    assert large.url.startswith(settings.blob_url)
    assert await exchange.bytes_of(small) == b"hi"
    assert await exchange.bytes_of(large) == LARGE


async def test_another_agent_reads_a_url_over_http_where_it_is_allowed_to(settings: AgentSettings) -> None:
    part = await Exchange.from_settings(settings).part(LARGE, "text/x-diff", "b")
    with pytest.raises(UrlRefused, match="PARLEY_BLOB_ALLOW"):
        await Exchange().bytes_of(part)
    allowed = Exchange(guard=UrlGuard([ip_network("127.0.0.1/32")]))
    assert await allowed.bytes_of(part) == LARGE


async def test_without_a_blob_folder_everything_travels_inside() -> None:
    exchange = Exchange.from_settings(AgentSettings())
    assert (await exchange.part(LARGE, "text/x-diff", "b")).raw == LARGE


async def test_forged_expired_changed_and_oversized_parts_are_refused(settings: AgentSettings) -> None:
    exchange = Exchange.from_settings(settings)
    part = await exchange.part(LARGE, "text/x-diff", "b")
    with pytest.raises(BlobError, match="403"):
        await exchange.bytes_of(Part(url=part.url[:-1] + ("0" if part.url[-1] != "0" else "1")))
    blob = await put_bytes(blob_store(settings.blobs), LARGE)
    with pytest.raises(BlobError, match="403"):
        await exchange.bytes_of(Part(url=_signer(settings).sign(blob.digest, lifetime=-5)))
    elsewhere = Exchange(guard=UrlGuard([ip_network("127.0.0.1/32")]))
    with pytest.raises(BlobError, match="is not blob"):
        await elsewhere.bytes_of(Part(url=part.url.replace("/parley/", "/wrong/parley/")))
    with pytest.raises(BlobError, match="larger than"):
        await Exchange(max_bytes=10).bytes_of(Part(raw=LARGE))
    with pytest.raises(BlobError, match="PARLEY_MAX_BUNDLE"):
        await Exchange(max_bytes=10).part(LARGE, "text/x-diff", "b")
    with pytest.raises(BlobError, match="neither raw bytes"):
        await exchange.bytes_of(Part())


async def test_a_url_into_the_inside_or_to_nowhere_is_an_error_that_says_so() -> None:
    for url in ("http://127.0.0.1:1/x", "http://169.254.169.254/latest", "file:///etc/passwd"):
        with pytest.raises(UrlRefused):
            await Exchange().bytes_of(Part(url=url))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await Exchange(own_url="http://127.0.0.1:1").bytes_of(Part(url="http://127.0.0.1:1/x"))


def test_whole_numbers_of_a_data_part_are_integers_again() -> None:
    struct = Struct()
    struct.update({"round": 2, "list": [1.5, {"n": 3}]})
    assert data_of(Part(data=Value(struct_value=struct))) == {"round": 2, "list": [1.5, {"n": 3}]}
    assert data_of(Part(text="x")) is None
