"""Large parts travel by claim check, and neither executors nor clients of any binding need know."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
import uvicorn
from a2a.client import Client, ClientConfig, ClientFactory
from a2a.client.card_resolver import parse_agent_card
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict
from payload_host import CARD, Obedient, digest_of, made

from engines.ports import free_port
from parley_core.blobs import LIMIT, Blob, put_bytes, read_bytes
from parley_core.blobstores.file import FileBlobs
from parley_core.errors import Unavailable
from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings

MIB = 2**20
BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")
BINARY = {"Content-Type": "application/octet-stream"}


@asynccontextmanager
async def hosted(home: Path, **settings: Any) -> AsyncIterator[AgentHost]:
    """A host in this process."""
    listen = f"127.0.0.1:{free_port()}"
    told = {
        "store": f"sqlite:///{home}/a.db",
        "listen": listen,
        "grpc": f"127.0.0.1:{free_port()}",
    } | settings
    host = AgentHost(CARD, Obedient(), HostSettings.model_validate(told))
    name, _, port = listen.rpartition(":")
    server = uvicorn.Server(uvicorn.Config(host.app, name, int(port), log_level="warning", lifespan="off"))
    await host.start()
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    try:
        yield host
    finally:
        await host.drain()
        server.should_exit = True
        await serving
        await host.close()


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.cluster)])
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AgentHost]:
    """A host with blobs of each kind."""
    (tmp_path / "key").write_text("ab" * 32)
    told: dict[str, Any] = {}
    if request.param == "s3":
        told = {"blobs": request.getfixturevalue("s3_url"), "blob_key_file": tmp_path / "key"}
    async with hosted(tmp_path, **told) as made_host:
        yield made_host


async def connect(host: AgentHost, binding: str, *, streaming: bool = True) -> Client:
    """The SDK's client of a host, unmodified."""
    return await client_at(f"http://{host.settings.listen}", binding, streaming=streaming)


async def client_at(url: str, binding: str, *, streaming: bool = True, timeout: float = 30.0) -> Client:
    """The same by URL."""
    async with httpx.AsyncClient() as client:
        card = parse_agent_card((await client.get(f"{url}/.well-known/agent-card.json")).json())
    config = ClientConfig(
        streaming=streaming,
        supported_protocol_bindings=[binding],
        httpx_client=httpx.AsyncClient(timeout=timeout),
        grpc_channel_factory=grpc.aio.insecure_channel,
    )
    return ClientFactory(config).create(card)


async def stream(client: Client, *parts: pb.Part, task: pb.Task | None = None) -> list[pb.StreamResponse]:
    message = pb.Message(message_id=uuid.uuid4().hex, role=pb.ROLE_USER, parts=parts)
    if task is not None:
        message.task_id = task.id
    return [event async for event in client.send_message(pb.SendMessageRequest(message=message))]


def artifacts(events: list[pb.StreamResponse]) -> list[pb.Part]:
    return [
        part
        for event in events
        if event.WhichOneof("payload") == "artifact_update"
        for part in event.artifact_update.artifact.parts
    ]


async def got(url: str) -> bytes:
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    assert answer.status_code == 200
    return answer.content


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_executor_sees_exactly_what_the_client_sent(host: AgentHost, binding: str) -> None:
    client = await connect(host, binding)
    sent = [
        made("raw", 3 * MIB),
        made("text", 300_000),
        pb.Part(text="small"),
        made("data", 400_000),
        pb.Part(raw=b"\0" * 300_000),
        pb.Part(url="https://elsewhere.example/x", media_type="text/plain"),
    ]
    events = await stream(client, pb.Part(text="describe"), *sent)
    assert json.loads(artifacts(events)[0].text) == [digest_of(part) for part in sent]
    # In the history, each large part is a URL that says what it leads to.
    kept = events[0].task.history[0].parts[1:]
    assert [part.WhichOneof("content") for part in kept] == ["url", "url", "text", "url", "url", "url"]
    assert await got(kept[0].url) == sent[0].raw
    assert await got(kept[1].url) == sent[1].text.encode()
    assert json.loads(await got(kept[3].url)) == MessageToDict(sent[3].data)
    assert kept[0].metadata["parley.dev/blob"]["digest"] == hashlib.sha256(sent[0].raw).hexdigest()
    assert kept[0].metadata["own"] == "kept"
    assert kept[5] == sent[5]
    await client.close()


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("kind", ["raw", "text", "data"])
async def test_a_large_artifact_is_streamed_as_a_url_that_a_plain_get_reads(
    host: AgentHost, binding: str, kind: str
) -> None:
    client, whole = await connect(host, binding), made(kind, 5 * MIB)
    (part,) = artifacts(await stream(client, pb.Part(text=f"make {kind} {5 * MIB}")))
    assert part.WhichOneof("content") == "url"
    assert (part.media_type, part.filename) == (whole.media_type, whole.filename)
    told = part.metadata["parley.dev/blob"]
    content = await got(part.url)
    assert (told["size"], told["content"]) == (len(content), kind)
    assert told["digest"] == hashlib.sha256(content).hexdigest()
    assert (json.loads(content) if kind == "data" else content) == (
        MessageToDict(whole.data) if kind == "data" else whole.raw or whole.text.encode()
    )
    await client.close()


async def test_small_parts_travel_as_they_are_and_nothing_is_stored(tmp_path: Path) -> None:
    async with hosted(tmp_path) as host:
        client = await connect(host, "JSONRPC")
        (part,) = artifacts(await stream(client, pb.Part(text="make raw 200000"), made("raw", 20_000)))
        assert part == made("raw", 200_000)
        assert not (tmp_path / "a.blobs").exists()
        await client.close()


async def test_events_keep_their_order_while_large_ones_are_being_stored(host: AgentHost) -> None:
    client = await connect(host, "JSONRPC")
    parts = artifacts(await stream(client, pb.Part(text=f"chunks {2 * MIB}")))
    assert [part.text[:11] or part.url[:4] for part in parts] == [
        "begin",
        "small",
        "http",
        "small again",
        "http",
        "end",
    ]
    await client.close()


async def test_many_small_parts_that_are_large_together_are_thinned_out(host: AgentHost) -> None:
    client = await connect(host, "JSONRPC")
    sent = [made("raw", 200_000) for _ in range(20)]
    events = await stream(client, pb.Part(text="describe"), *sent)
    assert json.loads(artifacts(events)[0].text) == [digest_of(part) for part in sent]
    assert events[0].task.ByteSize() < 1_200_000
    await client.close()


async def test_replies_and_questions_may_be_large_and_a_follow_up_finds_its_task(host: AgentHost) -> None:
    client = await connect(host, "JSONRPC")
    (reply,) = await stream(client, pb.Part(text=f"reply {2 * MIB}"))
    assert await got(reply.message.parts[0].url) == b"r" * (2 * MIB)
    asked = await stream(client, pb.Part(text=f"ask {MIB}"), made("raw", MIB))
    question = asked[-1].status_update.status.message.parts[0]
    assert await got(question.url) == b"?" * MIB
    events = await stream(client, pb.Part(text="describe"), made("text", MIB), task=asked[0].task)
    assert json.loads(artifacts(events)[0].text) == [digest_of(made("text", MIB))]
    await client.close()


async def test_the_same_message_again_is_the_same_task_and_another_content_is_refused(
    host: AgentHost,
) -> None:
    client = await connect(host, "JSONRPC")
    message = pb.Message(
        message_id="one", role=pb.ROLE_USER, parts=[pb.Part(text="describe"), made("raw", MIB)]
    )
    request = pb.SendMessageRequest(message=message)
    first = [event async for event in client.send_message(request)]
    again = [event async for event in client.send_message(request)]
    assert again[0].task.id == first[0].task.id
    message.parts[1].raw = message.parts[1].raw[:-1] + b"?"
    with pytest.raises(Exception, match="messageId"):
        [event async for event in client.send_message(pb.SendMessageRequest(message=message))]
    await client.close()


async def test_what_a_client_uploads_first_an_executor_reads_and_writes_in_chunks(host: AgentHost) -> None:
    data = bytes(range(256)) * 40_000
    async with httpx.AsyncClient(base_url=f"http://{host.settings.listen}") as http:
        told = (await http.post("/parley/v1/blobs", content=data, headers=BINARY)).json()
    client = await connect(host, "JSONRPC")
    events = await stream(client, pb.Part(text="copy"), pb.Part(url=told["url"]), pb.Part(text="and this"))
    first, second = artifacts(events)
    assert (first.media_type, first.filename) == ("application/x-copy", "copy.bin")
    assert first.metadata["parley.dev/blob"]["digest"] == told["digest"]
    assert await got(first.url) == data
    assert await got(second.url) == b"and this"
    await client.close()


async def test_only_what_this_platform_signed_is_opened(host: AgentHost, tmp_path: Path) -> None:
    client = await connect(host, "JSONRPC")
    (tmp_path / "secret").write_text("secret")
    (part,) = artifacts(await stream(client, pb.Part(text=f"make raw {MIB}")))
    for url, said in (
        (f"http://{host.settings.listen}/healthz", "somebody else's"),
        (f"file://{tmp_path}/secret", "somebody else's"),
        (part.url[:-1] + ("0" if part.url[-1] != "0" else "1"), "not valid"),
        (part.url.replace("expires=", "expires=1"), "not valid"),
    ):
        events = await stream(client, pb.Part(text="copy"), pb.Part(url=url))
        status = events[-1].status_update.status
        assert status.state == pb.TASK_STATE_FAILED
        assert said in status.message.parts[0].text
    await client.close()


async def test_a_message_whose_blob_was_lost_fails_with_the_reason(tmp_path: Path) -> None:
    async with hosted(tmp_path, role="front") as front:
        client = await connect(front, "HTTP+JSON", streaming=False)
        request = pb.SendMessageRequest()
        request.message.CopyFrom(
            pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part(text="describe"), made("raw", MIB)])
        )
        request.configuration.return_immediately = True
        (event,) = [event async for event in client.send_message(request)]
        await client.close()
        store = front.payloads.store
        assert store is not None
        digest = hashlib.sha256(made("raw", MIB).raw).hexdigest()
        assert await read_bytes(store, digest, limit=MIB)
        assert await store.delete(digest)
    async with hosted(tmp_path) as host:
        client = await connect(host, "JSONRPC")
        async with asyncio.timeout(20):
            while True:
                task = await client.get_task(pb.GetTaskRequest(id=event.task.id))
                if task.status.state == pb.TASK_STATE_FAILED:
                    break
                await asyncio.sleep(0.05)
        assert "lost" in task.status.message.parts[0].text
        await client.close()


class FailingBlobs(FileBlobs):
    """A fake: a folder that cannot be written to while `away`."""

    away = True
    tried = 0

    async def put(self, chunks: AsyncIterable[bytes], *, limit: int = LIMIT, digest: str = "") -> Blob:
        self.tried += 1
        if self.away:
            raise Unavailable("the blobs are away")
        return await super().put(chunks, limit=limit, digest=digest)


async def test_an_artifact_that_cannot_be_stored_now_is_made_again_when_it_can(tmp_path: Path) -> None:
    async with hosted(tmp_path) as host:
        store = host.payloads.store = FailingBlobs(tmp_path / "a.blobs")
        client = await connect(host, "JSONRPC")
        made_events = asyncio.create_task(stream(client, pb.Part(text=f"make raw {MIB}")))
        async with asyncio.timeout(20):
            while store.tried < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not made_events.done()
        store.away = False
        events = await made_events
        assert events[-1].status_update.status.state == pb.TASK_STATE_COMPLETED
        assert await got(artifacts(events)[-1].url) == made("raw", MIB).raw
        refused = FailingBlobs(tmp_path / "a.blobs")
        host.payloads.store = refused
        with pytest.raises(Exception, match="try again"):
            await stream(client, pb.Part(text="describe"), made("raw", MIB))
        await client.close()


async def test_uploading_wants_a_caller_who_is_known_and_reading_only_the_link(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text('{"keys": []}')
    known = {"auth_issuer": "https://issuer.example", "auth_audience": "agents"}
    async with hosted(tmp_path, auth_jwks=str(tmp_path / "jwks.json"), **known) as host:
        signer = host.payloads.signer
        assert signer is not None
        async with httpx.AsyncClient(base_url=f"http://{host.settings.listen}") as http:
            refused = await http.post("/parley/v1/blobs", content=b"x", headers=BINARY)
            assert refused.status_code == 401
            assert not (tmp_path / "a.blobs").exists()
            blob = await put_bytes(FileBlobs(tmp_path / "a.blobs"), b"content")
            assert (await http.get(signer.sign(blob.digest))).content == b"content"
            assert (await http.get(f"/parley/v1/blobs/{blob.digest}")).status_code == 403


async def test_a_front_and_a_worker_apart_share_the_blobs_of_their_place(
    tmp_path: Path, postgres_dsn: str
) -> None:
    (tmp_path / "key").write_text("ab" * 32)
    shared = {"store": postgres_dsn, "blobs": str(tmp_path / "blobs"), "blob_key_file": tmp_path / "key"}
    async with hosted(tmp_path, role="front", **shared) as front, hosted(tmp_path, role="worker", **shared):
        client = await connect(front, "JSONRPC")
        sent = [made("raw", 5 * MIB), made("data", 400_000)]
        events = await stream(client, pb.Part(text="describe"), *sent)
        assert json.loads(artifacts(events)[0].text) == [digest_of(part) for part in sent]
        (part,) = artifacts(await stream(client, pb.Part(text=f"make raw {5 * MIB}")))
        assert part.url.startswith("http://127.0.0.1:")
        await client.close()


async def test_postgres_without_a_place_for_blobs_takes_large_parts_as_they_are(
    tmp_path: Path, postgres_dsn: str
) -> None:
    async with hosted(tmp_path, store=postgres_dsn) as host:
        client = await connect(host, "JSONRPC")
        (part,) = artifacts(await stream(client, pb.Part(text=f"make raw {MIB}"), made("raw", MIB)))
        assert part == made("raw", MIB)
        await client.close()
