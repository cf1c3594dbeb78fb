"""A Nacos that comes back empty, and agents that are deleted past the catalogue: what is kept, for how long, and whose it is."""

import asyncio
import json
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from record_backend import checked

from engines.nacos import Nacos as Server
from parley_registry.audit import Actor
from parley_registry.backends.nacos import NacosRecord
from parley_registry.entry import Agent, Instance, Key
from parley_registry.errors import NotOwner, RegistryBusy
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.agents import Agents
from parley_registry.nacos.held import HeldVersion
from parley_registry.nacos.removal import remove
from parley_registry.nacos.server import Nacos
from parley_registry.record import Stored

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

ANN, BOB, NOONE = Actor("ann", "127.0.0.1"), Actor("bob", "127.0.0.1"), Actor("", "")
AT_1 = Instance("one", "http://127.0.0.1:9991")


class Catalogue:
    """A record over Nacos, opened in this process, for the one namespace of its address."""

    def __init__(self, record: NacosRecord, namespace: str) -> None:
        self.record = record
        self.namespace = namespace

    async def publish(self, name: str, *, by: Actor = ANN, instance: Instance | None = None) -> None:
        await self.record.publish(
            checked(name), namespace=self.namespace, instance=instance, source="", actor=by
        )

    def agent(self, name: str) -> Agent:
        return Agent(self.namespace, name)

    def key(self, name: str) -> Key:
        return Key(self.namespace, name, "1.0.0")

    async def names(self) -> set[str]:
        return {one.name for one in await self.record.page(None, 100)}

    async def health(self, name: str) -> str:
        entry = await self.record.latest(self.agent(name))
        return entry.health if entry else "gone"

    async def until(self, names: set[str], *, within: float) -> None:
        deadline = time.monotonic() + within
        while (found := await self.names()) != names:
            assert time.monotonic() < deadline, f"{found} after {within:g} s"
            await asyncio.sleep(0.1)

    async def until_fresh(self, *, within: float = 30.0) -> None:
        deadline = time.monotonic() + within
        while (fresh := await self.record.freshness()).stale:
            assert time.monotonic() < deadline, fresh.why
            await asyncio.sleep(0.1)

    async def until_stale(self, why: str, *, within: float) -> None:
        deadline = time.monotonic() + within
        while why not in (fresh := await self.record.freshness()).why:
            assert time.monotonic() < deadline, f"{fresh}"
            await asyncio.sleep(0.1)
        assert fresh.stale


@asynccontextmanager
async def catalogue(url: str, folder: Path, *, held: float = 60.0) -> AsyncIterator[Catalogue]:
    address = NacosAddress.parse(url)
    record = NacosRecord(address, f"sqlite:///{folder}/copy.db", held=held)
    await record.open()
    try:
        found = Catalogue(record, address.namespace)
        await found.until_fresh()
        yield found
    finally:
        await record.close()


def lose_everything(server: Server) -> None:
    """Have a server that is not running start as it did the very first time, with the user it had."""
    shutil.rmtree(server.folder / "data")
    facts = json.loads((server.folder / "facts.json").read_text())
    (server.folder / "facts.json").write_text(json.dumps({**facts, "user": ""}))


async def test_a_nacos_that_comes_back_empty_empties_nothing_at_once(
    own_nacos: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "parley_registry")
    server = own_nacos()
    url = server.address(server.create_namespace())
    names = {"coder", "tester", "planner", "reviewer", "team"}
    async with catalogue(url, tmp_path, held=20.0) as here:
        for name in names:
            await here.publish(name, instance=AT_1 if name == "coder" else None)
        server.kill()
        lose_everything(server)
        await asyncio.to_thread(server.start)
        await here.until_stale("Nacos lists none of 5 known agents", within=60)
        assert await here.names() == names

        assert not await here.record.heartbeat(here.key("coder"), "one"), "its host is to publish it again"
        await here.publish("coder", instance=AT_1)
        assert await here.record.heartbeat(here.key("coder"), "one")
        await here.until_stale("Nacos lists 1 of 5 known agents", within=60)
        assert await here.names() == names
        with pytest.raises(NotOwner):
            await here.publish("tester", by=BOB)

        await here.until({"coder"}, within=40)
        await here.until_fresh()
        assert await here.health("coder") == "up"
        for name in names:
            with pytest.raises(NotOwner):
                await here.publish(name, by=BOB)
        await here.publish("tester", by=ANN)
        entry = await here.record.latest(here.agent("tester"))
        assert entry is not None
        assert entry.owner == "ann"
    for line, times in {
        "0 agents of": 2,  # at the start, and when all was looked at
        "Nacos is away": 1,
        "Nacos is back": 1,
        "known agents of": 1,
        "the copy is as Nacos says again": 1,
    }.items():
        assert sum(line in message for message in caplog.messages) == times, line
    assert server.password not in caplog.text


async def test_an_agent_that_is_deleted_past_the_catalogue_leaves_its_name_to_its_owner(
    nacos_url: str, tmp_path: Path
) -> None:
    async with catalogue(nacos_url, tmp_path) as here, Nacos(NacosAddress.parse(nacos_url)) as other:
        await here.publish("coder")
        await here.publish("tester")
        assert await remove(other, here.agent("coder"), None)
        await here.until({"tester"}, within=60)
        assert await here.record.owner(here.agent("coder")) == "ann"
        with pytest.raises(NotOwner):
            await here.publish("coder", by=BOB)
        with pytest.raises(NotOwner):
            await here.publish("c0der", by=BOB)
        assert await here.record.delete(here.agent("coder"), None, actor=ANN), "that gives the name away"
        await here.publish("coder", by=BOB)


async def test_several_that_are_deleted_together_past_the_catalogue_go_a_little_later(
    nacos_url: str, tmp_path: Path
) -> None:
    async with (
        catalogue(nacos_url, tmp_path, held=4.0) as here,
        Nacos(NacosAddress.parse(nacos_url)) as other,
    ):
        names = {f"agent-{number}" for number in range(6)}
        for name in names:
            await here.publish(name, by=NOONE)
        await asyncio.gather(*(remove(other, here.agent(name), None) for name in names - {"agent-0"}))
        await here.until({"agent-0"}, within=60)
        await here.until_fresh()


async def test_an_agent_that_nacos_still_answers_with_after_it_told_of_its_end_goes_all_the_same(
    nacos_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parley_registry.nacos.changes.ASK_EVERY", 2.0)
    async with catalogue(nacos_url, tmp_path) as here, Nacos(NacosAddress.parse(nacos_url)) as other:
        await here.publish("coder")
        await here.publish("tester")
        read, before = Agents.all_versions, await other.agents.all_versions(here.namespace, "coder")
        stale_until, stale = time.monotonic() + 600, 0

        async def late(agents: Agents, namespace: str, called: str) -> list[HeldVersion]:
            """What a server answers that has not heard of it yet: a fault put in here, by nothing of Nacos's."""
            nonlocal stale
            if called != "coder" or time.monotonic() > stale_until:
                return await read(agents, namespace, called)
            stale += 1
            return before

        monkeypatch.setattr(Agents, "all_versions", late)
        assert await remove(other, here.agent("coder"), None)
        stale_until = time.monotonic() + 5
        await here.until({"tester"}, within=60)
        assert stale > 0
        assert time.monotonic() > stale_until


async def test_a_host_whose_version_is_deleted_past_the_catalogue_publishes_again(
    nacos_url: str, tmp_path: Path
) -> None:
    async with catalogue(nacos_url, tmp_path) as here, Nacos(NacosAddress.parse(nacos_url)) as other:
        await here.publish("coder", instance=AT_1)
        assert await here.record.heartbeat(here.key("coder"), "one")
        assert await remove(other, here.agent("coder"), None)
        await here.until(set(), within=60)
        assert not await here.record.heartbeat(here.key("coder"), "one")
        await here.publish("coder", instance=AT_1)
        assert await here.record.heartbeat(here.key("coder"), "one")
        assert await here.health("coder") == "up"


async def test_a_publish_of_what_is_deleted_at_that_moment_is_to_be_tried_again(
    nacos_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none_any_more(keys: Sequence[Key]) -> Sequence[Stored]:
        return []

    async with catalogue(nacos_url, tmp_path) as here:
        monkeypatch.setattr(here.record._copy, "load", none_any_more)
        with pytest.raises(RegistryBusy, match="publish it again"):
            await here.publish("coder")
