"""Hosts and others at a catalogue over a real Nacos that come back, share an address, or register what nobody can read."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from registry_service import RegistryProcess, card_json

from parley_registry.client import Instance, RegistryClient
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.layout import service_of
from parley_registry.nacos.naming import Endpoint
from parley_registry.nacos.server import Nacos

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

HERE = "http://127.0.0.1:9991"
OTHER = "http://127.0.0.1:9980"


@pytest.fixture
async def client(tmp_path: Path, nacos_url: str) -> AsyncIterator[RegistryClient]:
    """A client of a catalogue of this test's namespace; a host that is silent for two seconds is gone."""
    store = tmp_path / "copy.db"
    with RegistryProcess(store, "--nacos", nacos_url, "--ttl", "6") as process:
        async with RegistryClient(process.url, namespace=namespace(nacos_url), timeout=30) as client:
            yield client


async def test_a_host_that_was_killed_and_comes_back_at_its_address_stays_up(client: RegistryClient) -> None:
    await client.publish(card(), instance=Instance("before", HERE))
    await client.publish(card(), instance=Instance("after", HERE))
    for _ in range(12):  # beyond the time after which "before" counts as gone
        await asyncio.sleep(0.5)
        await client.heartbeat("coder", "1.0.0", "after")
    entry = await client.get("coder")
    assert (entry.health, entry.instances) == ("up", (Instance("after", HERE),))


async def test_a_host_that_comes_back_elsewhere_is_nowhere_else(client: RegistryClient) -> None:
    await client.publish(card(), instance=Instance("one", HERE))
    await client.publish(card(), instance=Instance("one", OTHER))
    assert (await client.get("coder")).instances == (Instance("one", OTHER),)
    await client.withdraw("coder", "1.0.0", "one")
    entry = await client.get("coder")
    assert (entry.health, entry.instances) == ("down", ())


async def test_what_others_register_as_an_instance_does_no_harm(
    client: RegistryClient, nacos_url: str
) -> None:
    await client.publish(card(signatures=[{"protected": "e30", "signature": "e30"}]))
    nacos = Nacos(NacosAddress.parse(nacos_url))
    nacos.open()
    try:
        service = service_of(namespace(nacos_url), "coder", "1.0.0")
        told = {
            "parley.interfaces": '{"supportedInterfaces":[{"url":5}],"name":"other"}',
            "parley.id": "a\0b",
        }
        await nacos.naming.register(service, Endpoint("127.0.0.9", 4242, told))
        deadline = time.monotonic() + 10
        while (entry := await client.get("coder")).health != "up":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert entry.instances == (Instance("127.0.0.9:4242", "http://127.0.0.9:4242"),)
        assert entry.card.name == "coder"
        assert (await client.search(text="coder")).total == 1
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{client.url}/healthz")).status_code == 200
    finally:
        await nacos.aclose()


def card(**changes: Any) -> AgentCard:
    return ParseDict(card_json(**changes), AgentCard())


def namespace(url: str) -> str:
    return NacosAddress.parse(url).namespace
