"""The filters of a search, over HTTP and through the client: all that a card says, and what is known of its entry."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from registry_service import RegistryThread, card_json

from parley_registry.client import BadRequest, Instance, Page, RegistryClient


def skill(id: str, *tags: str) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "name": "Skill", "description": "Does it", "tags": list(tags)}


def secured(*schemes: dict[str, Any]) -> dict[str, Any]:
    return {"securitySchemes": {f"scheme{number}": one for number, one in enumerate(schemes)}}


API_KEY = {"apiKeySecurityScheme": {"location": "header", "name": "x-key"}}
BEARER = {"httpAuthSecurityScheme": {"scheme": "bearer"}}

CARDS = (
    card_json("coder", skills=[skill("edit", "python", "rust")]),
    card_json("coder", "1.1.0", skills=[skill("edit", "python")]),
    card_json(
        "painter",
        capabilities={"streaming": True, "extensions": [{"uri": "https://ext.example/v1"}]},
        skills=[skill("paint", "image")],
        **secured(API_KEY, BEARER),
    ),
    card_json(
        "singer",
        capabilities={"pushNotifications": True, "extensions": [{"uri": "https://ext.example/v2"}]},
        skills=[skill("sing", "sound")],
        **secured(BEARER),
    ),
)


@pytest.fixture
async def client(registry: RegistryThread) -> AsyncIterator[RegistryClient]:
    async with RegistryClient(registry.url) as client, RegistryClient(registry.url, namespace="lab") as lab:
        for card in CARDS:
            await client.publish(ParseDict(card, AgentCard()))
        await client.publish(ParseDict(CARDS[1], AgentCard()), instance=Instance("i", "http://127.0.0.1:1"))
        await lab.publish(ParseDict(card_json("coder", "7.0.0"), AgentCard()))
        yield client


def names(page: Page) -> set[str]:
    return {f"{hit.entry.name} {hit.entry.version}" for hit in page.entries}


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({"tag": ["image", "sound"]}, {"painter 1.0.0", "singer 1.0.0"}),
        ({"tag": ["RUST", "no-such"]}, {"coder 1.0.0"}),
        (
            {"skill": ("paint", "edit"), "capability": "streaming", "latest": True},
            {"coder 1.1.0", "painter 1.0.0"},
        ),
        ({"extension": "https://ext.example/v2"}, {"singer 1.0.0"}),
        ({"security": "apiKey"}, {"painter 1.0.0"}),
        ({"security": ["http"]}, {"painter 1.0.0", "singer 1.0.0"}),
        ({"security": "none", "latest": True}, {"coder 1.1.0"}),
        ({"latest": True}, {"coder 1.1.0", "painter 1.0.0", "singer 1.0.0"}),
        ({"version": "1.1.0"}, {"coder 1.1.0"}),
        ({"version": ["1.0.0"], "tag": "python"}, {"coder 1.0.0"}),
        ({"health": ["up", "down"]}, {"coder 1.1.0"}),
        ({"external": True}, set()),
        ({"external": False, "tag": "image"}, {"painter 1.0.0"}),
        ({"external": None, "tag": "image"}, {"painter 1.0.0"}),
        ({"owner": "nobody"}, set()),
        ({"signature": "none", "tag": "image"}, {"painter 1.0.0"}),
        ({"signature": ["verified", "untrusted"]}, set()),
        ({"namespace": "lab"}, {"coder 7.0.0"}),
        ({"namespace": ["lab", "public"], "text": "coder", "latest": True}, {"coder 7.0.0", "coder 1.1.0"}),
        ({"namespace": "", "version": "7.0.0"}, {"coder 7.0.0"}),
        ({"namespace": "elsewhere"}, set()),
        (
            {"binding": ["GRPC", "JSONRPC"], "protocol_version": ["0.3", "1.0"], "tag": "sound"},
            {"singer 1.0.0"},
        ),
        ({"text": "coedr", "latest": True}, {"coder 1.1.0"}),
        ({"text": "paiter", "security": "apiKey", "extension": "HTTPS://ext.example/v1"}, {"painter 1.0.0"}),
    ],
)
async def test_of_each_filter_one_value_must_be_had(
    client: RegistryClient, criteria: dict[str, Any], found: set[str]
) -> None:
    page = await client.search(**criteria)
    assert names(page) == found
    assert page.total == len(found)


async def test_reasons_name_the_values_that_the_card_has(client: RegistryClient) -> None:
    page = await client.search(tag=["image", "sound"], security=["apiKey", "oauth2"], input_mode="text/plain")
    assert page.entries[0].reasons == (
        "matched tag image",
        "matched security apiKey",
        "matched input text/plain",
    )


async def test_facets_tell_what_else_to_ask_for(client: RegistryClient) -> None:
    facets = (await client.search(namespace="")).facets
    assert facets["namespace"] == {"public": 4, "lab": 1}
    assert facets["security"] == {"none": 3, "http": 2, "apiKey": 1}
    assert facets["extension"] == {"https://ext.example/v1": 1, "https://ext.example/v2": 1}
    assert facets["signature"] == {"none": 5}


async def test_pages_with_filters_follow_each_other_to_the_end(client: RegistryClient) -> None:
    for number in range(30):
        card = card_json(f"agent {number:02}", skills=[skill("common", "even" if number % 2 else "odd")])
        await client.publish(ParseDict(card, AgentCard()))
    for text in ("", "agnet", "agent"):
        seen: list[str] = []
        cursor = ""
        while True:
            page = await client.search(text=text, tag=["even", "odd"], latest=True, limit=7, cursor=cursor)
            seen += [hit.entry.name for hit in page.entries]
            if not (cursor := page.next):
                break
        assert len(seen) == len(set(seen)) == 30


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("colour=red", "colour"),
        ("text=" + "x" * 257, "text"),
        ("tag=" + "x" * 257, "tag[0]"),
        ("&".join(f"tag=t{number}" for number in range(17)), "tag"),
        ("health=well", "health[0]"),
        ("latest=perhaps", "latest"),
        ("external=perhaps", "external"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=abc", "cursor"),
        ("cursor=" + "A" * 2049, "cursor"),
    ],
)
def test_what_cannot_be_asked_is_named(registry: RegistryThread, asked: str, named: str) -> None:
    answer = httpx.get(f"{registry.url}/v1/agents?{asked}", trust_env=False)
    assert answer.status_code == 400
    assert [fault["field"] for fault in answer.json()["faults"]] == [named]


async def test_a_criterion_that_there_is_not_is_refused_by_its_name(client: RegistryClient) -> None:
    with pytest.raises(BadRequest, match="favouriteColour"):
        await client.search(favourite_colour="red")  # type: ignore[call-arg]


async def test_an_empty_value_is_none(registry: RegistryThread, client: RegistryClient) -> None:
    async with httpx.AsyncClient(base_url=registry.url, trust_env=False) as http:
        answer = await http.get("/v1/agents?tag=&skill=&tag=image&health=&external=")
    assert answer.json()["total"] == 1


async def test_an_external_agent_is_told_from_the_others(tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    import orjson

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(orjson.dumps(card_json("far")))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with RegistryThread(tmp_path / "r.db") as registry:
        async with RegistryClient(registry.url) as client:
            await client.publish(ParseDict(card_json("near"), AgentCard()))
            await client.register_url(f"http://127.0.0.1:{server.server_port}/card.json")
            assert names(await client.search(external=True)) == {"far 1.0.0"}
            assert names(await client.search(external=False)) == {"near 1.0.0"}
    server.shutdown()
    server.server_close()
