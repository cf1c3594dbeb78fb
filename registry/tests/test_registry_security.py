"""Who may come in, and where the registry goes when it is told a URL."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from registry_service import RegistryThread, card_json

from parley_core.errors import ConfigurationError
from parley_registry.__main__ import main
from parley_registry.client import (
    CardRejected,
    CardUnreachable,
    NameDiffers,
    NotAllowed,
    RegistryClient,
    UnknownAgent,
    VersionConflict,
    card_url,
)
from parley_registry.external import External
from parley_registry.service import create_app
from parley_registry.settings import RegistrySettings


class CardServer:
    """A real server of another party: what it answers at which path is set by the test."""

    def __init__(self) -> None:
        answers = self.answers = dict[str, tuple[int, bytes]]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answers.get(self.path, (404, b""))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.send_header("location", "http://127.0.0.1/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def show(self, card: Any, path: str = "/.well-known/agent-card.json") -> None:
        self.answers[path] = (200, json.dumps(card).encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def other() -> Iterator[CardServer]:
    server = CardServer()
    yield server
    server.close()


async def test_an_external_agent_is_registered_by_its_server_and_followed(
    tmp_path: Path, other: CardServer
) -> None:
    other.show(card_json("visitor"))
    with RegistryThread(tmp_path / "r.db", look_every=0.3) as registry:
        async with RegistryClient(registry.url) as client:
            entry = await client.register_url(other.url)
            assert (entry.name, entry.external, entry.health, entry.latest) == ("visitor", True, "up", True)
            other.answers.clear()
            await told(client, "visitor", "down")
            other.show(card_json("visitor", "0.9.0"))
            await told(client, "visitor", "up")
            assert (await client.get("visitor")).version == "0.9.0"
            assert (await client.get("visitor", "1.0.0")).health == "down"


async def test_a_card_that_goes_on_to_call_itself_by_another_name_is_not_registered_under_it(
    tmp_path: Path, other: CardServer
) -> None:
    other.show(card_json("visitor"))
    with RegistryThread(tmp_path / "r.db", look_every=0.3) as registry:
        async with RegistryClient(registry.url) as client:
            await client.register_url(other.url)
            other.show(card_json("coder"))
            await told(client, "visitor", "down")
            with pytest.raises(UnknownAgent):
                await client.get("coder")
            other.show(card_json("visitor"))
            await told(client, "visitor", "up")


async def test_a_card_is_registered_under_the_name_that_was_told_or_not_at_all(
    registry: RegistryThread, other: CardServer
) -> None:
    other.show(card_json("visitor"))
    async with RegistryClient(registry.url) as client:
        with pytest.raises(NameDiffers, match="called visitor, not coder"):
            await client.register_url(other.url, name="coder")
        with pytest.raises(UnknownAgent):
            await client.get("visitor")
        entry = await client.register_url(other.url, name="visitor")
        assert entry.source == card_url(other.url)


async def told(client: RegistryClient, name: str, health: str) -> None:
    deadline = time.monotonic() + 40
    while (await client.get(name)).health != health:
        assert time.monotonic() < deadline, f"{name} is not {health} within 40 s"
        await asyncio.sleep(0.05)


async def test_a_card_of_a2a_0_3_is_registered_in_the_form_of_1_0(
    registry: RegistryThread, other: CardServer
) -> None:
    card = card_json("elder", url="http://h/", preferredTransport="JSONRPC", protocolVersion="0.3.0")
    del card["supportedInterfaces"]
    other.show(card, "/agent.json")
    async with RegistryClient(registry.url) as client:
        entry = await client.register_url(f"{other.url}/agent.json")
        assert entry.card.supported_interfaces[0].protocol_version == "0.3"


async def test_what_is_no_card_is_refused(registry: RegistryThread, other: CardServer) -> None:
    other.answers["/moved"] = (302, b"")
    other.answers["/text"] = (200, b"hello")
    other.answers["/huge"] = (200, b" " * 2_000_000)
    other.answers["/list"] = (200, b"[]")
    async with RegistryClient(registry.url) as client:
        for path in ("/missing", "/moved", "/text", "/huge"):
            with pytest.raises(CardUnreachable):
                await client.register_url(other.url + path)
        with pytest.raises(CardRejected):
            await client.register_url(other.url + "/list")
        with pytest.raises(CardUnreachable):
            await client.register_url("http://127.0.0.1:1/")


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest",
        "http://[fd00::1]/",
        "file:///etc/passwd",
        "javascript:1",
        "//x",
        "",
    ],
)
async def test_addresses_of_the_inside_are_not_called(registry: RegistryThread, url: str) -> None:
    async with RegistryClient(registry.url) as client:
        with pytest.raises(CardUnreachable):
            await client.register_url(url)


async def test_beyond_loopback_not_even_loopback_is_called(tmp_path: Path) -> None:
    from parley_registry.backends.sql import SqlRecord

    async def anything(_: object) -> None:
        """Every card is welcome."""

    record = SqlRecord(f"sqlite:///{tmp_path}/r.db")
    external = External(record, allow=(), every=1, admit=anything)
    with pytest.raises(CardUnreachable, match="loopback"):
        await external.fetch("http://127.0.0.1:1/")
    await external.close()


async def test_an_external_card_cannot_take_the_name_of_an_agent_here(
    registry: RegistryThread, other: CardServer
) -> None:
    from a2a.types import AgentCard
    from google.protobuf.json_format import ParseDict

    async with RegistryClient(registry.url) as client:
        await client.publish(ParseDict(card_json("coder"), AgentCard()))
        other.show(card_json("coder", "99.0.0"))
        with pytest.raises(VersionConflict, match="another name"):
            await client.register_url(other.url)
        other.show(card_json("visitor"))
        await client.register_url(other.url)
        with pytest.raises(VersionConflict, match="is registered from"):
            await client.publish(ParseDict(card_json("visitor", "2.0.0"), AgentCard()))


def test_a_page_of_another_site_is_turned_away(registry: RegistryThread) -> None:
    url = f"{registry.url}/v1/agents"
    assert (
        httpx.get(url, headers={"host": f"evil.example:{registry.port}"}, trust_env=False).status_code == 421
    )
    assert httpx.get(url, headers={"origin": "https://evil.example"}, trust_env=False).status_code == 403
    plain = httpx.post(
        url,
        content=json.dumps({"card": card_json()}),
        headers={"content-type": "text/plain"},
        trust_env=False,
    )
    assert plain.status_code == 400


def test_listening_to_others_needs_a_way_to_know_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match="let anyone on the network in"):
        create_app(RegistrySettings(listen="0.0.0.0:0", store=f"sqlite:///{tmp_path}/r.db"))
    assert main(["--listen", "0.0.0.0:8420", "--store", f"sqlite:///{tmp_path}/r.db"]) == 2
    assert "PARLEY_AUTH_ISSUER" in capsys.readouterr().err


async def test_with_an_issuer_every_call_needs_a_token_and_the_probes_none(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": []}')
    told = {"auth_issuer": "https://issuer.example", "auth_audience": "registry", "auth_jwks": str(keys)}
    with RegistryThread(tmp_path / "r.db", **told) as registry:
        async with (
            RegistryClient(registry.url) as nobody,
            RegistryClient(registry.url, token="x.y.z") as liar,
        ):
            with pytest.raises(NotAllowed, match="bearer token"):
                await nobody.search()
            with pytest.raises(NotAllowed):
                await anext(liar.watch())
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{registry.url}/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "127.0.0.1"], "host:port"),
        (["--store", "mysql://x"], "sqlite:///"),
        (["--store", "sqlite:////proc/no/such.db"], "cannot use"),
        (["--ttl", "0"], "ttl"),
        (["--allow", "10.0.0.0/99"], "allow"),
    ],
)
def test_bad_arguments_are_explained(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--store", f"sqlite:///{tmp_path}/r.db", *arguments]) == 2
    assert said in capsys.readouterr().err
