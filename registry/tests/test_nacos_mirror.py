"""A catalogue over a real Nacos: what others publish there, what becomes of hosts, and Nacos away."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from registry_service import RegistryProcess, card_json

from engines.nacos import Nacos as NacosServer
from parley_registry.client import (
    Change,
    Entry,
    Instance,
    RegistryBusy,
    RegistryClient,
    RegistryUnavailable,
    UnknownAgent,
)
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.registry import NacosRegistry
from parley_registry.rollout import Rollout, RolloutVersion

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

AT_1 = Instance("one", "http://127.0.0.1:9991")
HOST = """
import asyncio, sys
from a2a.types import AgentCard
from google.protobuf.json_format import Parse
from parley_registry.client import Instance
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.registry import NacosRegistry

async def main():
    async with NacosRegistry(NacosAddress.parse(sys.argv[1])) as registry:
        await registry.publish(Parse(sys.argv[2], AgentCard()), instance=Instance("direct", "http://127.0.0.1:9"))
        print("published", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def catalogue(store: Path | str, nacos: str, *options: str, port: int | None = None) -> RegistryProcess:
    return RegistryProcess(store, "--nacos", nacos, "--ttl", "6", *options, port=port)


def namespace(url: str) -> str:
    return NacosAddress.parse(url).namespace


@pytest.fixture
async def client(tmp_path: Path, nacos_url: str) -> AsyncIterator[RegistryClient]:
    """A client of a catalogue of this test's namespace."""
    with catalogue(tmp_path / "copy.db", nacos_url) as process:
        async with RegistryClient(process.url, namespace=namespace(nacos_url)) as client:
            await until(lambda: is_fresh(client), within=60)
            yield client


async def test_what_others_publish_is_seen_within_two_seconds(client: RegistryClient, nacos_url: str) -> None:
    async with NacosRegistry(NacosAddress.parse(nacos_url)) as other, aclosing(client.watch()) as watch:
        told = asyncio.ensure_future(anext(watch))
        for version in ("1.0.0", "1.1.0"):
            await other.publish(card(version=version))
            began = time.monotonic()
            await until(lambda v=version: has(client, "coder", v), within=60)
            assert time.monotonic() - began <= 20.0, version
        assert ((await told).kind, (await told).version) == ("published", "1.0.0")
        assert (await client.get("coder")).version == "1.1.0"
        found = await client.search(text="edits code")
        assert [hit.entry.version for hit in found.entries] == ["1.1.0", "1.0.0"]
        await other.set_latest("coder", "1.0.0")
        await until(lambda: is_latest(client, "1.0.0"), within=60)
        await other.delete("coder")
        await until(lambda: is_gone(client, "coder"), within=60)


async def test_a_host_that_publishes_straight_into_nacos_is_up_until_it_is_killed(
    client: RegistryClient, nacos_url: str
) -> None:
    host = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", HOST, nacos_url, json.dumps(card_json())], stdout=subprocess.PIPE
    )
    try:
        assert host.stdout is not None
        assert await asyncio.to_thread(host.stdout.readline) == b"published\n"
        await until(lambda: has_health(client, "up"), within=60)
        entry = await client.get("coder")
        assert [one.id for one in entry.instances] == ["direct"]
        host.kill()
        await until(lambda: has_health(client, "down"), within=60)
    finally:
        host.kill()
        host.wait()


async def test_a_host_that_publishes_here_is_announced_in_nacos_while_it_beats(
    client: RegistryClient, nacos_url: str
) -> None:
    await client.publish(card(), instance=AT_1)
    async with NacosRegistry(NacosAddress.parse(nacos_url)) as other:
        there = await other.get("coder")
        assert (there.health, there.instances) == ("up", (AT_1,))
        for _ in range(8):
            await asyncio.sleep(0.5)
            await client.heartbeat("coder", "1.0.0", "one")
        assert (await other.get("coder")).health == "up"
        await until(lambda: has_health(client, "down"), within=60)
        assert (await other.get("coder")).instances == ()
        await client.publish(card(), instance=AT_1)
        await client.withdraw("coder", "1.0.0", "one")
        assert (await client.get("coder")).health == "down"
        assert (await other.get("coder")).instances == ()


async def test_cards_of_others_are_shown_even_when_they_break_our_rules(
    client: RegistryClient, nacos_url: str, nacos: NacosServer
) -> None:
    foreign = {
        "name": "weather agent",
        "version": "v1",
        "description": "tells the weather of 北京",
        "url": "http://127.0.0.1:7001/",
        "preferredTransport": "JSONRPC",
        "protocolVersion": "0.3.0",
        "capabilities": {"streaming": True},
        "defaultInputModes": ["text"],
        "defaultOutputModes": ["text"],
        "skills": [{"id": "forecast", "name": "Forecast", "description": "", "tags": []}],
    }
    form = {"namespaceId": namespace(nacos_url), "agentCard": json.dumps(foreign)}
    await asyncio.to_thread(nacos.call, "POST", "/v3/admin/ai/a2a", form)
    await until(lambda: has(client, "weather agent", "v1"), within=60)
    entry = await client.get("weather agent")
    assert [one.url for one in entry.card.supported_interfaces] == ["http://127.0.0.1:7001/"]
    assert [one.version for one in await client.versions("weather agent")] == ["v1"]
    for criteria in ({"text": "weather"}, {"skill": "forecast"}, {"text": "北京"}):
        found = await client.search(**criteria)  # type: ignore[arg-type]
        assert [hit.entry.name for hit in found.entries] == ["weather agent"], criteria


async def test_a_rollout_table_set_by_others_is_told_within_a_second(
    client: RegistryClient, nacos_url: str
) -> None:
    await client.publish(card())
    async with NacosRegistry(NacosAddress.parse(nacos_url)) as other:
        async with aclosing(client.watch_rollouts("coder")) as tables:
            assert (await anext(tables)).versions == ()
            table = Rollout(namespace(nacos_url), "coder", (RolloutVersion("1.0.0", "Current", 100),))
            kept = await other.set_rollout(table, 0)
            began = time.monotonic()
            assert await anext(tables) == kept
            assert time.monotonic() - began <= 20.0
            ended = await client.set_rollout(Rollout(namespace(nacos_url), "coder"), kept.revision)
            assert await anext(tables) == ended == await other.rollout("coder")


async def test_nacos_away_and_back(own_nacos: Callable[..., NacosServer], tmp_path: Path) -> None:
    server = own_nacos()
    url = server.address(server.create_namespace())
    store = tmp_path / "copy.db"
    with catalogue(store, url, "--stale-after", "3") as first:
        async with RegistryClient(first.url, namespace=namespace(url), timeout=30) as client:
            await client.publish(card(), instance=AT_1)
            await until(lambda: is_fresh(client), within=60)
            assert not (await client.get("coder")).stale
            server.kill()
            await until(lambda: is_stale(client), within=60)
            assert (await client.search(text="coder")).entries[0].entry.stale
            with pytest.raises((RegistryUnavailable, RegistryBusy), match="does not answer"):
                await client.publish(card(version="2.0.0"))
        first.kill()
        with catalogue(store, url, "--stale-after", "3", port=first.port) as second:
            async with RegistryClient(second.url, namespace=namespace(url), timeout=30) as client:
                entry = await client.get("coder")
                assert (entry.version, entry.stale) == ("1.0.0", True), "the last state, said to be stale"
                async with httpx.AsyncClient(trust_env=False) as http:
                    ready = await http.get(f"{second.url}/readyz")
                    assert ready.status_code == 200
                    assert "stale" in ready.json()["detail"]
                    assert "parley_registry_stale 1.0" in (await http.get(f"{second.url}/metrics")).text
                await asyncio.to_thread(server.start)
                await until(lambda: is_fresh(client), within=60)
                await until(lambda: has_health(client, "down"), within=60)
                await client.publish(card(version="2.0.0"), instance=AT_1)
                assert (await client.get("coder")).version == "2.0.0"


async def test_two_catalogues_on_one_database_tell_each_change_once(
    postgres_dsn: str, nacos_url: str
) -> None:
    here = namespace(nacos_url)
    with catalogue(postgres_dsn, nacos_url) as one, catalogue(postgres_dsn, nacos_url) as two:
        async with (
            RegistryClient(
                one.url, namespace=here, timeout=60
            ) as a,  # fifteen at once are slow on a busy machine
            RegistryClient(two.url, namespace=here, timeout=60) as b,
        ):
            await until(lambda: is_fresh(a), within=60)
            async with NacosRegistry(NacosAddress.parse(nacos_url)) as other:
                await asyncio.gather(
                    *(other.publish(card(f"direct-{number}")) for number in range(5)),
                    *(a.publish(card(f"a-{number}"), instance=AT_1) for number in range(5)),
                    *(b.publish(card(f"b-{number}"), instance=AT_1) for number in range(5)),
                )
                await until(lambda: counts(b, 15), within=60)
                await a.withdraw("a-0", "1.0.0", "one")
                await asyncio.sleep(2)
            seen = await changes(a, 15 + 10 + 1)
            assert seen == await changes(b, 15 + 10 + 1)
            told = [(change.kind, change.name) for change in seen]
            assert len(told) == len(set(told)), "each once"
            assert ("down", "a-0") in told


async def test_a_catalogue_is_found_through_nacos(tmp_path: Path, nacos_url: str) -> None:
    with RegistryProcess(tmp_path / "x.db") as port_holder:
        port = port_holder.port
    with catalogue(
        tmp_path / "copy.db", nacos_url, "--public-url", f"http://127.0.0.1:{port}", port=port
    ) as process:
        async with NacosRegistry(NacosAddress.parse(nacos_url)) as registry:
            await registry.publish(card())
            assert process.port == port

            async def found() -> bool:
                try:
                    return (await registry.search(skill="edit-code")).total == 1
                except RegistryUnavailable:
                    return False

            await until(found, within=60)


def card(name: str = "coder", version: str = "1.0.0", **changes: Any) -> AgentCard:
    return ParseDict(card_json(name, version, **changes), AgentCard())


async def until(true: Callable[[], Awaitable[bool]], *, within: float) -> None:
    deadline = time.monotonic() + within
    while not await true():
        assert time.monotonic() < deadline, f"it did not come about within {within:g} s"
        await asyncio.sleep(0.03)


async def has(client: RegistryClient, name: str, version: str) -> bool:
    return await entry_of(client, name, version) is not None


async def is_gone(client: RegistryClient, name: str) -> bool:
    return await entry_of(client, name) is None


async def is_latest(client: RegistryClient, version: str) -> bool:
    entry = await entry_of(client, "coder")
    return entry is not None and entry.version == version


async def has_health(client: RegistryClient, health: str) -> bool:
    entry = await entry_of(client, "coder", "1.0.0")
    return entry is not None and entry.health == health


async def is_fresh(client: RegistryClient) -> bool:
    async with httpx.AsyncClient(trust_env=False) as http:
        return not (await http.get(f"{client.url}/v1/agents", params={"limit": 1})).json()["stale"]


async def is_stale(client: RegistryClient) -> bool:
    return not await is_fresh(client)


async def counts(client: RegistryClient, total: int) -> bool:
    return (await client.search(limit=1)).total == total


async def entry_of(client: RegistryClient, name: str, version: str | None = None) -> Entry | None:
    try:
        return await client.get(name, version)
    except UnknownAgent:
        return None


async def changes(client: RegistryClient, count: int) -> list[Change]:
    """The first changes there are: `count` of them, or more if more come within a second."""
    seen: list[Change] = []
    async with aclosing(client.watch(after=0)) as watch:
        try:
            while True:
                async with asyncio.timeout(5 if len(seen) < count else 1):
                    seen.append(await anext(watch))
        except TimeoutError:
            return seen
