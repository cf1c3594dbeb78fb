"""The service as its users meet it: the typed client against a real socket."""

import asyncio
import signal
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from registry_service import RegistryProcess, RegistryThread, card_json

from engines.ports import free_port
from parley_registry.client import (
    BadRequest,
    CardRejected,
    Instance,
    LatestInUse,
    RegistryClient,
    RegistryUnavailable,
    UnknownAgent,
    UnknownInstance,
    VersionConflict,
)

pytestmark = pytest.mark.processes


def card(name: str = "coder", version: str = "1.0.0", **changes: Any) -> AgentCard:
    return ParseDict(card_json(name, version, **changes), AgentCard())


async def test_publishing_the_same_card_again_is_the_same_entry(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        first = await client.publish(card())
        again = await client.publish(card())
        assert first == again
        assert (first.name, first.version, first.latest, first.health) == ("coder", "1.0.0", True, "unknown")
    body = {"card": card_json()}
    async with httpx.AsyncClient(trust_env=False) as plain:
        assert (await plain.post(f"{registry.url}/v1/agents", json=body)).status_code == 200


async def test_a_published_version_does_not_change(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        await client.publish(card())
        with pytest.raises(VersionConflict, match="raise the card's version"):
            await client.publish(card(description="another"))
        assert (await client.get("coder")).card.description == card().description


async def test_a_bad_card_comes_back_with_every_fault(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        with pytest.raises(CardRejected) as caught:
            await client.publish(AgentCard(name="x"))
        assert len(caught.value.faults) == 7
        with pytest.raises(UnknownAgent):
            await client.get("x")


async def test_latest_follows_releases_and_can_be_rolled_back(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        for version in ("1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"):
            await client.publish(card(version=version))
        assert (await client.get("coder")).version == "1.10.0"
        assert [one.version for one in await client.versions("coder")] == [
            "2.0.0-rc.1",
            "1.10.0",
            "1.9.0",
            "1.0.0",
        ]

        assert (await client.set_latest("coder", "1.9.0")).latest
        await client.publish(card(version="1.10.0"))
        await client.publish(card(version="1.9.5"))
        assert (await client.get("coder")).version == "1.9.0"
        await client.publish(card(version="1.10.1"))
        assert (await client.get("coder")).version == "1.10.1"
        with pytest.raises(UnknownAgent, match=r"it has 2\.0\.0-rc\.1, 1\.10\.1"):
            await client.set_latest("coder", "7.0.0")


async def test_the_latest_version_is_deleted_last(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        await client.publish(card(version="1.0.0"))
        await client.publish(card(version="1.1.0"))
        with pytest.raises(LatestInUse, match="set another one as latest"):
            await client.delete("coder", "1.1.0")
        await client.delete("coder", "1.0.0")
        await client.delete("coder", "1.1.0")
        with pytest.raises(UnknownAgent):
            await client.delete("coder")


async def test_names_are_kept_as_they_are_written(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        for name in ("Recipe Agent", "50% off?", "größe #1", "1.0.0", "versions"):
            await client.publish(card(name))
            assert (await client.get(name, "1.0.0")).name == name
            await client.delete(name)


async def test_namespaces_share_names_and_nothing_else(registry: RegistryThread) -> None:
    async with (
        RegistryClient(registry.url) as ours,
        RegistryClient(registry.url, namespace="team-b") as theirs,
    ):
        await ours.publish(card(description="ours"), instance=Instance("1", "http://127.0.0.1:9999"))
        await theirs.publish(card(description="theirs"))
        assert (await ours.get("coder")).card.description == "ours"
        there = await theirs.get("coder", "1.0.0")
        assert (there.namespace, there.card.description, there.health) == ("team-b", "theirs", "unknown")
        assert [hit.entry.namespace for hit in (await theirs.search()).entries] == ["team-b"]
        everywhere = await ours.search(namespace="")
        assert [hit.entry.namespace for hit in everywhere.entries] == ["public", "team-b"]
        assert everywhere.facets["namespace"] == {"public": 1, "team-b": 1}
        await ours.delete("coder")
        assert (await theirs.versions("coder"))[0].card.description == "theirs"
        with pytest.raises(UnknownAgent, match="no agent named 'coder' in the namespace 'team-c'"):
            async with RegistryClient(registry.url, namespace="team-c") as nobody:
                await nobody.get("coder")
        with pytest.raises(BadRequest, match="namespace"):
            async with RegistryClient(registry.url, namespace="no/where") as wrong:
                await wrong.publish(card())


async def test_an_instance_that_falls_silent_takes_its_entry_down(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        entry = await client.publish(card(), instance=Instance("a", "http://127.0.0.1:1"))
        assert (entry.health, entry.instances) == ("up", (Instance("a", "http://127.0.0.1:1"),))
        for _ in range(4):
            await asyncio.sleep(0.5)
            await client.heartbeat("coder", "1.0.0", "a")
        assert (await client.get("coder")).health == "up"
        await until_health(client, "down", within=4)
        with pytest.raises(UnknownInstance, match="publish the card again"):
            await client.heartbeat("coder", "1.0.0", "a")


async def test_withdrawing_the_last_instance_takes_the_entry_down_at_once(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        await client.publish(card(), instance=Instance("a", "http://127.0.0.1:1"))
        await client.publish(card(), instance=Instance("b", "http://127.0.0.1:2"))
        await client.withdraw("coder", "1.0.0", "a")
        assert (await client.get("coder")).health == "up"
        await client.withdraw("coder", "1.0.0", "b")
        await client.withdraw("coder", "1.0.0", "b")
        assert (await client.get("coder")).health == "down"


async def test_an_entry_names_the_interfaces_of_the_instances_that_live(registry: RegistryThread) -> None:
    def at(port: int) -> AgentCard:
        url = f"http://127.0.0.1:{port}/"
        return card(
            supportedInterfaces=[{"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
        )

    def urls(entry: Any) -> list[str]:
        return [interface.url for interface in entry.card.supported_interfaces]

    async with RegistryClient(registry.url) as client:
        await client.publish(at(1), instance=Instance("a", "http://127.0.0.1:1"))
        both = await client.publish(at(2), instance=Instance("b", "http://127.0.0.1:2"))
        assert urls(both) == ["http://127.0.0.1:1/", "http://127.0.0.1:2/"]
        await client.withdraw("coder", "1.0.0", "b")
        assert urls(await client.get("coder")) == ["http://127.0.0.1:1/"]


async def test_the_registry_keeps_everything_over_a_kill(tmp_path: Path) -> None:
    store = tmp_path / "registry.db"
    with RegistryProcess(store) as first:
        async with RegistryClient(first.url) as client:
            await client.publish(card(version="1.0.0"))
            await client.publish(card(version="1.1.0"), instance=Instance("a", "http://127.0.0.1:1"))
            await client.set_latest("coder", "1.0.0")
            seq = (await anext(client.watch(after=0))).seq
        first.kill()
    with RegistryProcess(store) as second:
        async with RegistryClient(second.url) as client:
            assert (await client.get("coder")).version == "1.0.0"
            assert (await client.get("coder", "1.1.0")).health == "up"
            assert [hit.entry.version for hit in (await client.search(skill="edit-code")).entries] == [
                "1.0.0",
                "1.1.0",
            ]
            assert (await anext(client.watch(after=seq))).seq == seq + 1
        assert second.stop() in (0, -signal.SIGTERM)


async def test_two_processes_serve_one_file(tmp_path: Path) -> None:
    store = tmp_path / "registry.db"
    with RegistryProcess(store) as one, RegistryProcess(store) as two:
        async with RegistryClient(one.url) as here, RegistryClient(two.url) as there:
            names = [f"agent-{number}" for number in range(20)]
            await asyncio.gather(
                *(client.publish(card(name)) for name in names for client in (here, there, here, there))
            )
            assert {hit.entry.name for hit in (await here.search(limit=50)).entries} == set(names)
            assert {hit.entry.name for hit in (await there.search(limit=50)).entries} == set(names)
            async with aclosing(there.watch(after=0)) as watch:
                assert {(await anext(watch)).name for _ in names} == set(names)


async def test_a_registry_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with RegistryClient(f"http://127.0.0.1:{free_port()}", timeout=1) as client:
        with pytest.raises(RegistryUnavailable, match="is it running there"):
            await client.get("x")


async def test_a_search_out_of_range_is_a_bad_request(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        for criteria in (
            {"limit": 101},
            {"limit": -1},
            {"health": "fine"},
            {"text": "x" * 300},
            {"cursor": "x"},
        ):
            with pytest.raises(BadRequest):
                await client.search(**criteria)  # type: ignore[arg-type]


async def until_health(client: RegistryClient, health: str, within: float) -> None:
    deadline = time.monotonic() + within
    while (await client.get("coder")).health != health:
        assert time.monotonic() < deadline, f"not {health} within {within} s"
        await asyncio.sleep(0.05)
