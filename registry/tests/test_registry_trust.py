"""What signatures are worth to a registry: by the keys it was told to trust, as they are now, and by nothing else."""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import MessageToDict, ParseDict
from registry_service import RegistryThread, card_json

from parley_core import signingkeys
from parley_core.cardsignature import Signature, sign
from parley_core.errors import ConfigurationError
from parley_core.signingkeys import SigningKeys
from parley_registry.client import Instance, RegistryClient
from parley_registry.errors import SignatureRequired
from parley_registry.trust import Trust

ONE, TWO = Instance("one", "http://127.0.0.1:9991"), Instance("two", "http://127.0.0.1:9992")


class Pages:
    """A real HTTP server of JSON documents by path, that counts how often each is asked for."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.asked: dict[str, int] = {}
        self.url = ""

    @contextmanager
    def served(self) -> Iterator["Pages"]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pages.asked[self.path] = pages.asked.get(self.path, 0) + 1
                found = pages.documents.get(self.path)
                self.send_response(200 if found is not None else 404)
                body = json.dumps(found).encode()
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(5)


@pytest.fixture
def pages() -> Iterator[Pages]:
    with Pages().served() as served:
        yield served


def signed(keys: SigningKeys, jku: str = "", **changes: Any) -> AgentCard:
    card = ParseDict(card_json(**changes), AgentCard())
    sign(card, keys, jku)
    return card


def at(url: str) -> list[dict[str, Any]]:
    """The interfaces of a card."""
    return [{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]


async def worth(client: RegistryClient, name: str = "coder") -> Signature:
    return (await client.get(name)).signature


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + 15
    while not await true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_signatures_are_shown_for_what_they_are(tmp_path: Path) -> None:
    ours, others = (signingkeys.create(tmp_path / f"{name}.json") for name in ("ours", "others"))
    trusted = (f"us={tmp_path}/ours.json",)
    with RegistryThread(tmp_path / "r.db", trusted_keys=trusted) as registry:
        async with RegistryClient(registry.url) as client:
            assert (await client.publish(signed(ours, name="good"))).signature == Signature(
                "verified", ours.id, "us"
            )
            await client.publish(signed(others, name="strange"))
            await client.publish(ParseDict(card_json(name="plain"), AgentCard()))
            forged = signed(ours, name="forged")
            forged.description = "something else"
            await client.publish(forged)
            assert {hit.entry.name: hit.entry.signature for hit in (await client.search()).entries} == {
                "good": Signature("verified", ours.id, "us"),
                "strange": Signature("untrusted", others.id),
                "plain": Signature("none"),
                "forged": Signature("invalid", ours.id, "us"),
            }


async def test_a_card_that_is_signed_again_is_the_same_version(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = signingkeys.create(path)
    with RegistryThread(tmp_path / "r.db", trusted_keys=(str(path),)) as registry:
        async with RegistryClient(registry.url) as client:
            await client.publish(signed(first), instance=ONE)
            second = signingkeys.rotate(path)
            entry = await client.publish(signed(second), instance=ONE)
            assert entry.signature == Signature("verified", second.id, "keys")
            assert len(await client.versions("coder")) == 1


async def test_a_signed_card_is_shown_to_the_byte_as_a_living_instance_signed_it(tmp_path: Path) -> None:
    keys = signingkeys.create(tmp_path / "keys.json")
    with RegistryThread(tmp_path / "r.db", ttl=600, trusted_keys=(str(tmp_path / "keys.json"),)) as registry:
        async with RegistryClient(registry.url) as client:
            one = signed(keys, supportedInterfaces=at("http://127.0.0.1:9991/"))
            two = signed(keys, supportedInterfaces=at("http://127.0.0.1:9992/"))
            await client.publish(one, instance=ONE)
            entry = await client.publish(two, instance=TWO)
            assert MessageToDict(entry.card) == MessageToDict(two)
            await client.withdraw("coder", "1.0.0", "two")
            entry = await client.get("coder")
            assert MessageToDict(entry.card) == MessageToDict(one)
            assert entry.signature.state == "verified"


async def test_keys_come_from_a_url_and_new_ones_are_looked_for_but_not_too_often(
    tmp_path: Path, pages: Pages
) -> None:
    path = tmp_path / "acme.json"
    first = signingkeys.create(path)
    pages.documents["/jwks.json"] = first.public()
    trusted = (f"acme={pages.url}/jwks.json",)
    with RegistryThread(tmp_path / "r.db", trusted_keys=trusted) as registry:
        async with RegistryClient(registry.url) as client:
            await client.publish(signed(first))
            assert await worth(client) == Signature("verified", first.id, "acme")
            for number in range(5):
                stranger = signingkeys.create(tmp_path / f"{number}.json")
                await client.publish(signed(stranger, name=f"stranger-{number}"))
            assert pages.asked["/jwks.json"] <= 2, "strangers do not make us ask again and again"


async def test_a_jku_is_never_followed(tmp_path: Path, pages: Pages) -> None:
    mine = signingkeys.create(tmp_path / "mine.json")
    evil = signingkeys.create(tmp_path / "evil.json")
    pages.documents["/evil.json"] = evil.public()
    with RegistryThread(tmp_path / "r.db", trusted_keys=(str(tmp_path / "mine.json"),)) as registry:
        async with RegistryClient(registry.url) as client:
            card = signed(evil, jku=f"{pages.url}/evil.json")
            assert (await client.publish(card)).signature == Signature("untrusted", evil.id)
            assert (await client.publish(signed(mine, name="ours"))).signature.state == "verified"
    assert pages.asked == {}


async def test_a_key_that_comes_or_goes_is_told_to_who_watches(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = signingkeys.create(path)
    with RegistryThread(tmp_path / "r.db", trusted_keys=(str(path),)) as registry:
        async with RegistryClient(registry.url) as client:
            await client.publish(signed(first))
            await client.publish(ParseDict(card_json(name="plain"), AgentCard()))
            told: list[tuple[str, str]] = []

            async def watch() -> None:
                async for change in client.watch(after=0):
                    told.append((change.kind, change.name))

            watching = asyncio.create_task(watch())
            signingkeys.rotate(path)
            signingkeys.retire(path, first.id)

            async def noticed() -> bool:
                return ("signature", "coder") in told and (await worth(client)).state == "untrusted"

            await until(noticed)
            watching.cancel()
            assert ("signature", "plain") not in told


async def test_where_signatures_are_required_nothing_else_is_taken(tmp_path: Path, pages: Pages) -> None:
    keys = signingkeys.create(tmp_path / "keys.json")
    other = signingkeys.create(tmp_path / "other.json")
    with RegistryThread(
        tmp_path / "r.db",
        trusted_keys=(f"us={tmp_path}/keys.json",),
        require_signature=True,
        look_every=0.3,
    ) as registry:
        async with RegistryClient(registry.url) as client:
            forged = signed(keys)
            forged.description = "something else"
            for card, why in (
                (ParseDict(card_json(), AgentCard()), "takes signed cards only"),
                (signed(other), f"key '{other.id}', which this registry does not trust"),
                (forged, "is not what key"),
            ):
                with pytest.raises(SignatureRequired, match=why):
                    await client.publish(card)
            pages.documents["/card.json"] = card_json(name="outside")
            with pytest.raises(SignatureRequired):
                await client.register_url(f"{pages.url}/card.json")
            pages.documents["/card.json"] = MessageToDict(signed(keys, name="outside"))
            await client.register_url(f"{pages.url}/card.json")
            pages.documents["/card.json"] = card_json(name="outside", description="taken over")

            async def down() -> bool:
                return (await client.get("outside")).health == "down"

            await until(down)
            entry = await client.get("outside")
            assert entry.card.description != "taken over"
            assert entry.signature.state == "verified"


async def test_keys_that_cannot_be_had_trust_nobody_and_stop_nothing(tmp_path: Path, pages: Pages) -> None:
    keys = signingkeys.create(tmp_path / "keys.json")
    trusted = (f"{pages.url}/nothing.json", str(tmp_path / "missing.json"))
    with RegistryThread(tmp_path / "r.db", trusted_keys=trusted) as registry:
        async with RegistryClient(registry.url) as client:
            assert (await client.publish(signed(keys))).signature.state == "untrusted"
            (tmp_path / "missing.json").write_text(json.dumps(keys.public()))

            async def verified() -> bool:
                return (await worth(client)).state == "verified"

            await until(verified)


@pytest.mark.parametrize(
    ("sources", "required", "said"),
    [
        ((), True, "needs --trusted-keys"),
        (("https://user:secret@x.example/keys",), False, "--trusted-keys"),
        (("ftp://x.example/keys",), False, "neither a file nor"),
    ],
)
def test_sources_that_cannot_be_are_refused_at_the_start(
    sources: tuple[str, ...], required: bool, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Trust(sources, allow=(), required=required)
