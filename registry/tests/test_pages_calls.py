"""What an agent may do to who tries it from a page: where it is called, and how what it says is shown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict
from registry_service import card_json

from parley_registry.pages.agentcall import AgentCall
from parley_registry.pages.interfaces import CallFailed, interfaces_of
from parley_registry.pages.taskview import MAX_PARTS, MAX_TEXT, TaskView, parts_of

LOOPBACK = (ip_network("127.0.0.0/8"),)
HELLO = pb.Message(message_id="1", role=pb.ROLE_USER, parts=[pb.Part(text="hello")])


def call_at(url: str, *, published: bool = False, allow: tuple = ()) -> AgentCall:  # type: ignore[type-arg]
    interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    card = card_json(supportedInterfaces=[interface])
    return AgentCall(card, interfaces_of(card)[0], published=published, allow=allow)


@pytest.mark.parametrize(
    "url", ["http://10.1.2.3/a", "http://127.0.0.1:9/", "http://[::1]/", "http://169.254.169.254/"]
)
async def test_an_agent_known_by_its_card_alone_is_not_called_at_a_private_address(url: str) -> None:
    with pytest.raises(CallFailed, match="not called from here"):
        await call_at(url).send(HELLO)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://169.254.169.254/latest", "http://[fe80::1]/"])
async def test_not_even_a_published_one_leads_to_this_machine_or_to_the_clouds_metadata(url: str) -> None:
    with pytest.raises(CallFailed, match="not called from here"):
        await call_at(url, published=True).get("t")


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[str]:
    """A fault: a server that reads a request and answers these bytes, whatever was asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    served = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with served:
        yield f"http://127.0.0.1:{served.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 401 no\r\ncontent-length: 0\r\n\r\n", "asks for credentials"),
        (b"HTTP/1.1 500 no\r\ncontent-length: 0\r\n\r\n", "answered 500"),
        (b"HTTP/1.1 302 no\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 200 ok\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>", "The agent"),
        (b"nonsense\r\n\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
    ],
)
async def test_every_failure_is_a_sentence(answer: bytes, told: str) -> None:
    async with server(answer) as url:
        with pytest.raises(CallFailed, match=told):
            await call_at(url, allow=LOOPBACK).get("t")
        with pytest.raises(CallFailed, match=r"^The agent"):
            await call_at(url, allow=LOOPBACK).send(HELLO)


def test_only_what_speaks_http_can_be_called() -> None:
    card = card_json(
        supportedInterfaces=[
            {"url": "agents.example:443", "protocolBinding": "GRPC", "protocolVersion": "1.0"},
            {"url": "https://agents.example/", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
            {"url": "https://agents.example/", "protocolBinding": "HTTP+JSON", "protocolVersion": "0.3"},
        ]
    )
    found = interfaces_of(card)
    assert [(one.binding, one.version) for one in found] == [("HTTP+JSON", "1.0"), ("HTTP+JSON", "0.3")]
    assert found[0].id != found[1].id


def view() -> TaskView:
    def file_url(artifact_id: str, part: int) -> str:
        return f"/file/{part}"

    return TaskView(
        {
            "file_url": file_url,
            "task_url": "/t",
            "cancel_url": "/c",
            "try_url": "/y",
            "via": "",
            "watching": True,
        }
    )


def update(*parts: dict[str, object], append: bool = False, artifact: str = "<a>") -> pb.StreamResponse:
    told = {
        "artifactUpdate": {
            "taskId": "t",
            "append": append,
            "artifact": {"artifactId": artifact, "parts": list(parts)},
        }
    }
    return ParseDict(told, pb.StreamResponse())


def test_text_grows_where_it_stands_and_nothing_of_it_is_markup() -> None:
    shown = view()
    first = "".join(shown.take(update({"text": "one <b>\n"})))
    more = "".join(shown.take(update({"text": "  </pre><script>"}, append=True)))
    assert "one &lt;b&gt;" in first
    assert 'hx-target="#a0-p0"' in more
    assert ">  &lt;/pre&gt;&lt;script&gt;<" in more
    assert [part.text for part in shown.artifacts["<a>"].parts] == ["one <b>\n  </pre><script>"]


def test_parts_keep_the_number_that_the_agent_gives_them() -> None:
    shown = view()
    list(shown.take(update({"text": "a"}, {"text": "b"})))
    told = "".join(
        shown.take(update({"raw": "AAAA", "mediaType": "text/html", "filename": "x.html"}, append=True))
    )
    assert 'href="/file/2" download="x.html"' in told
    assert "<iframe" not in told


def test_links_are_links_only_to_the_web() -> None:
    parts = [pb.Part(url="javascript:alert(1)", filename="x"), pb.Part(url="https://example.com/f")]
    shown = view()
    task = pb.Task(id="t", artifacts=[pb.Artifact(artifact_id="a", parts=parts)])
    html = "".join(shown.take(pb.StreamResponse(task=task)))
    assert 'href="javascript' not in html
    assert 'href="https://example.com/f" rel="noopener noreferrer nofollow external"' in html
    assert [part.kind for part in parts_of(pb.Message(parts=parts))] == ["link", "link"]


def test_a_page_shows_a_task_up_to_a_limit_and_says_so() -> None:
    shown = view()
    list(shown.take(update({"text": "x" * MAX_TEXT})))
    assert not shown.cut
    list(shown.take(update({"text": "y"}, append=True)))
    assert shown.cut
    many = view()
    list(many.take(update(*({"data": {"n": n}} for n in range(MAX_PARTS + 1)))))
    assert many.cut
    assert len(many.artifacts["<a>"].parts) == MAX_PARTS


def test_an_artifact_told_again_takes_the_place_of_the_one_before() -> None:
    shown = view()
    list(shown.take(update({"text": "draft"})))
    told = "".join(shown.take(update({"text": "final"})))
    assert 'hx-target="#a0" hx-swap="outerHTML"' in told
    assert [part.text for part in shown.artifacts["<a>"].parts] == ["final"]
