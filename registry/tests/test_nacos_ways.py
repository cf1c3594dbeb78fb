"""Hosts that speak to the catalogue and hosts that speak to Nacos, side by side, through restarts and lost namespaces."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from registry_service import RegistryProcess, card_json

from engines.nacos import Nacos as Server
from parley_registry.client import Entry, Instance, RegistryClient, UnknownAgent, UnknownInstance
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.registry import NacosRegistry

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

AT_1, AT_2 = Instance("one", "http://127.0.0.1:9991"), Instance("two", "http://127.0.0.1:9992")


def catalogue(store: Path, url: str, port: int | None = None) -> RegistryProcess:
    return RegistryProcess(store, "--nacos", url, "--ttl", "4", port=port)


def namespace(url: str) -> str:
    return NacosAddress.parse(url).namespace


def card(version: str = "1.0.0", name: str = "coder") -> AgentCard:
    return ParseDict(card_json(name, version), AgentCard())


async def until(true: Callable[[], Awaitable[bool]], *, within: float) -> None:
    deadline = time.monotonic() + within
    while not await true():
        assert time.monotonic() < deadline, f"it did not come about within {within:g} s"
        await asyncio.sleep(0.05)


async def alive(client: RegistryClient | NacosRegistry) -> dict[str, set[str]]:
    """The live instances of each version of the agent."""
    try:
        found: list[Entry] = await client.versions("coder")
    except UnknownAgent:
        return {}
    return {one.version: {instance.id for instance in one.instances} for one in found}


async def beat(client: RegistryClient, version: str, instance: Instance) -> None:
    """As a host does."""
    try:
        await client.heartbeat("coder", version, instance.id)
    except UnknownInstance:
        await client.publish(card(version), instance=instance)


async def test_two_versions_one_at_the_catalogue_and_one_at_nacos_are_one_agent(
    tmp_path: Path, nacos_url: str
) -> None:
    with catalogue(tmp_path / "copy.db", nacos_url) as process:
        async with (
            RegistryClient(process.url, namespace=namespace(nacos_url), timeout=30) as here,
            NacosRegistry(NacosAddress.parse(nacos_url)) as direct,
        ):
            await asyncio.gather(
                here.publish(card("1.0.0"), instance=AT_1), direct.publish(card("1.1.0"), instance=AT_2)
            )
            both = {"1.0.0": {"one"}, "1.1.0": {"two"}}

            async def same() -> bool:
                await beat(here, "1.0.0", AT_1)
                return await alive(here) == both == await alive(direct)

            await until(same, within=60)
            assert (await here.get("coder")).version == (await direct.get("coder")).version == "1.1.0"
            await here.set_latest("coder", "1.0.0")
            assert (await direct.get("coder")).version == "1.0.0"

            await direct.withdraw("coder", "1.1.0", "two")
            left = {"1.0.0": {"one"}, "1.1.0": set[str]()}

            async def withdrawn() -> bool:
                await beat(here, "1.0.0", AT_1)
                return await alive(here) == left == await alive(direct)

            await until(withdrawn, within=60)
            await here.delete("coder", "1.1.0")
            assert await alive(here) == await alive(direct) == {"1.0.0": {"one"}}


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_hosts_that_beat_over_http_stay_while_the_catalogue_is_started_again(
    tmp_path: Path, nacos_url: str, end: str
) -> None:
    store = tmp_path / "copy.db"
    with catalogue(store, nacos_url) as first:
        async with RegistryClient(first.url, namespace=namespace(nacos_url), timeout=30) as here:
            await here.publish(card(), instance=AT_1)
            await here.heartbeat("coder", "1.0.0", "one")
        getattr(first, end)()
        with catalogue(store, nacos_url, port=first.port) as second:
            async with (
                RegistryClient(second.url, namespace=namespace(nacos_url), timeout=30) as here,
                NacosRegistry(NacosAddress.parse(nacos_url)) as direct,
            ):
                last = time.monotonic() + 10
                while time.monotonic() < last:  # Nacos forgets the first one's instances meanwhile
                    await beat(here, "1.0.0", AT_1)
                    await asyncio.sleep(0.5)
                assert await alive(here) == await alive(direct) == {"1.0.0": {"one"}}


async def test_a_namespace_that_is_deleted_in_nacos_stops_nothing(
    tmp_path: Path, nacos: Server, nacos_url: str
) -> None:
    gone, other = namespace(nacos_url), nacos.create_namespace()
    with catalogue(tmp_path / "copy.db", f"{nacos_url},{other}") as process:
        async with (
            RegistryClient(process.url, namespace=gone, timeout=30) as here,
            RegistryClient(process.url, namespace=other, timeout=30) as there,
        ):
            await here.publish(card(), instance=AT_1)
            await asyncio.to_thread(nacos.call, "DELETE", "/v3/admin/core/namespace", {"namespaceId": gone})
            for _ in range(6):
                await beat(here, "1.0.0", AT_1)
                await asyncio.sleep(0.5)
            assert await alive(here) == {"1.0.0": {"one"}}, (
                "Nacos keeps what is in a namespace that it deletes"
            )
            await there.publish(card(), instance=AT_2)
            assert await alive(there) == {"1.0.0": {"two"}}
            assert not (await there.get("coder")).stale
            await here.publish(card("2.0.0"), instance=AT_1)
            assert (await here.get("coder")).version == "2.0.0"
