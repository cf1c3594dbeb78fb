"""A GiB through the platform without a GiB of memory, and nothing to be seen of half an upload."""

import asyncio
import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from a2a.types import a2a_pb2 as pb
from test_payloads import BINARY, MIB, artifacts, client_at, stream

from engines.ports import free_port

GIB = 1024 * MIB
PROGRAM = Path(__file__).with_name("payload_host.py")


@asynccontextmanager
async def process(home: Path, **settings: Any) -> AsyncIterator[tuple[str, "asyncio.subprocess.Process"]]:
    """A host as a process: its URL, and the process."""
    listen = f"127.0.0.1:{free_port()}"
    told = {"store": f"sqlite:///{home}/a.db", "listen": listen, **settings}
    host = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), json.dumps(told), stdout=subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(60):
            while not await _ready(client, f"http://{listen}"):
                assert host.returncode is None
                await asyncio.sleep(0.05)
        yield f"http://{listen}", host
    finally:
        if host.returncode is None:
            host.terminate()
        await host.wait()


async def _ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def noise(size: int) -> AsyncIterator[bytes]:
    """So many bytes that do not repeat within 16 MiB."""
    block = hashlib.shake_256(b"noise").digest(16 * MIB)
    for at in range(size // MIB):
        yield block[at % 16 * MIB : (at % 16 + 1) * MIB]


class Peak:
    """The most memory that a process holds beyond what it held first, in MiB, looked at every 20 ms."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._first = self._process.memory_info().rss
        self.mib = 0.0
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self.mib = max(self.mib, (self._process.memory_info().rss - self._first) / MIB)
            await asyncio.sleep(0.02)

    def end(self) -> float:
        self._watching.cancel()
        return self.mib


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("place", ["file", pytest.param("s3", marks=pytest.mark.cluster)])
async def test_a_gibibyte_goes_in_through_an_executor_and_out_again_in_flat_memory(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    settings = {}
    if place == "s3":
        (tmp_path / "key").write_text("ab" * 32)
        settings = {"blobs": request.getfixturevalue("s3_url"), "blob_key_file": str(tmp_path / "key")}
    async with process(tmp_path, **settings) as (url, host):
        client = await client_at(url, "JSONRPC", timeout=300)
        await stream(client, pb.Part(text="describe"))  # what is loaded once is loaded
        peak = Peak(host.pid)
        async with httpx.AsyncClient(timeout=300) as http:
            answer = await http.post(f"{url}/parley/v1/blobs", content=noise(GIB), headers=BINARY)
            told = answer.json()
            assert (answer.status_code, told["size"]) == (201, GIB)
            uploaded = peak.mib
            (part,) = artifacts(await stream(client, pb.Part(text="copy"), pb.Part(url=told["url"])))
            copied = peak.mib
            found, size = hashlib.sha256(), 0
            async with http.stream("GET", part.url) as download:
                async for chunk in download.aiter_bytes(MIB):
                    found.update(chunk)
                    size += len(chunk)
        most = peak.end()
        print(f"\n{place}: upload +{uploaded:.0f} MiB, executor +{copied:.0f} MiB, download +{most:.0f} MiB")
        assert (size, found.hexdigest()) == (GIB, told["digest"])
        assert most < 100
        await client.close()


@pytest.mark.parametrize("place", ["file", pytest.param("s3", marks=pytest.mark.cluster)])
async def test_an_upload_that_is_cut_off_or_whose_host_is_killed_leaves_nothing_to_be_seen(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    from parley_core.blobstores import blob_store

    blobs = request.getfixturevalue("s3_url") if place == "s3" else str(tmp_path / "blobs")
    (tmp_path / "key").write_text("ab" * 32)
    store = blob_store(blobs)
    settings = {"blobs": blobs, "blob_key_file": str(tmp_path / "key")}

    async def seen() -> list[str]:
        return [blob.digest async for blob in store.older_than(-60.0)]

    async with process(tmp_path, **settings) as (url, host):
        for ends in ("the client goes", "the host is killed"):
            half = socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0))
            head = f"POST /parley/v1/blobs HTTP/1.1\r\nHost: {httpx.URL(url).netloc.decode()}\r\n"
            head += f"Content-Type: application/octet-stream\r\nContent-Length: {40 * MIB}\r\n\r\n"
            await asyncio.to_thread(half.sendall, head.encode() + b"x" * (20 * MIB))
            assert await seen() == []
            if ends == "the host is killed":
                host.kill()
                await host.wait()
            half.close()
            await asyncio.sleep(0.2)
            assert await seen() == []


async def test_a_download_that_is_not_whole_is_an_error_to_its_reader(tmp_path: Path) -> None:
    async with process(tmp_path) as (url, _), httpx.AsyncClient() as http:
        told = (await http.post(f"{url}/parley/v1/blobs", content=noise(8 * MIB), headers=BINARY)).json()
        blob = tmp_path / "a.blobs" / told["digest"][:2] / told["digest"][2:]
        assert (await http.get(told["url"])).status_code == 200
        with blob.open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"?")
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(told["url"])
        with blob.open("r+b") as file:
            file.truncate(5 * MIB)
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(told["url"])
