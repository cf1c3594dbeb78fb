"""Agents in a real Nacos: published, read, versions, latest, deleted; also by many at once, and by others."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nacos_cards import checked, full_card, large_card
from nacos_kit import eventually, until

from parley_registry.card import check_card
from parley_registry.errors import LatestInUse, VersionConflict
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.changes import AgentChanges
from parley_registry.nacos.server import Nacos

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

A2A = "/v3/admin/ai/a2a"


@pytest.fixture
async def server(nacos_url: str) -> AsyncIterator[Nacos]:
    async with Nacos(NacosAddress.parse(nacos_url)) as running:
        yield running


@pytest.fixture
def here(server: Nacos) -> str:
    return server.address.namespace


@pytest.mark.parametrize(
    "card",
    [
        full_card("a planner"),
        full_card("研究員 🧭", "1.0.0-rc.1+build.7"),
        full_card("7" * 64),
        full_card('it\'s <b>100%<b> "ok" & ~{}[]|^`'),
        large_card("large", 200_000),
    ],
    ids=["all of 1.0", "cjk", "digits", "punctuation", "200 KB"],
)
async def test_a_card_comes_back_to_the_byte(server: Nacos, here: str, card: dict[str, Any]) -> None:
    sent = check_card(card)
    assert await server.agents.publish(here, sent)
    held = await server.agents.get(here, card["name"], card["version"])
    assert held is not None
    assert held.card.exact
    assert held.card.checked.json == sent.json
    assert held.latest
    assert held.version == card["version"]


async def test_a_plain_reader_of_nacos_sees_a_card_of_0_3(server: Nacos, here: str) -> None:
    await server.agents.publish(here, checked("a planner"))
    told = await server.http.get(A2A, {"namespaceId": here, "agentName": "a planner"})
    assert told["url"] == "https://a.example.com/a2a/jsonrpc"
    assert told["preferredTransport"] == "JSONRPC"
    assert told["skills"][0]["name"] == "計画"
    assert told["security"] == [{"oauth": ["read"], "mtls": []}, {"key": []}]


async def test_the_same_card_again_changes_nothing_and_another_is_refused(server: Nacos, here: str) -> None:
    assert await server.agents.publish(here, checked("a"))
    assert not await server.agents.publish(here, checked("a"))
    with pytest.raises(VersionConflict, match="another card"):
        await server.agents.publish(here, check_card(full_card("a") | {"description": "other"}))


async def test_a_card_signed_anew_replaces_the_one_before(server: Nacos, here: str) -> None:
    await server.agents.publish(here, checked("a"))
    signature = {"protected": "eyJhbGciOiJFUzI1NiJ9", "signature": "bmV3"}
    anew = check_card(full_card("a") | {"signatures": [signature]})
    assert not await server.agents.publish(here, anew)
    held = await server.agents.get(here, "a")
    assert held is not None
    assert held.card.checked.json == anew.json


async def test_the_highest_release_becomes_latest_and_a_roll_back_holds(server: Nacos, here: str) -> None:
    agents = server.agents
    for version in ("1.0.0", "1.2.0", "1.1.0", "2.0.0-rc.1"):
        await agents.publish(here, checked("a", version))

    async def latest() -> str:
        held = await agents.get(here, "a")
        return held.version if held else ""

    assert await latest() == "1.2.0"
    assert await agents.set_latest(here, "a", "1.0.0")
    assert await latest() == "1.0.0"
    await agents.publish(here, checked("a", "1.1.1"))
    assert await latest() == "1.0.0"
    await agents.publish(here, checked("a", "1.3.0"))
    assert await latest() == "1.3.0"
    assert sorted(one.called for one in await agents.versions(here, "a")) == [
        *("1.0.0", "1.1.0", "1.1.1", "1.2.0", "1.3.0", "2.0.0-rc.1")
    ]
    assert not await agents.set_latest(here, "a", "9.9.9")


async def test_the_latest_version_cannot_go_while_there_are_others(server: Nacos, here: str) -> None:
    agents = server.agents
    await agents.publish(here, checked("a", "1.0.0"))
    await agents.publish(here, checked("a", "1.1.0"))
    with pytest.raises(LatestInUse, match="set another one as latest first"):
        await agents.delete(here, "a", "1.1.0")
    assert await agents.delete(here, "a", "1.0.0")
    assert await agents.get(here, "a", "1.0.0") is None
    assert await agents.delete(here, "a", "1.1.0")
    assert await agents.versions(here, "a") == []
    assert not await agents.delete(here, "a", "1.1.0")
    assert not await agents.delete(here, "a")


async def test_a_deleted_agent_is_gone_at_once_and_may_come_back_with_another_card(
    server: Nacos, here: str
) -> None:
    agents = server.agents
    for version in ("1.0.0", "1.1.0"):
        await agents.publish(here, checked("a", version))
    assert await agents.delete(here, "a")
    assert await agents.get(here, "a", "1.0.0") is None
    assert await agents.publish(here, check_card(full_card("a", "1.0.0") | {"description": "another"}))
    held = await agents.get(here, "a")
    assert held is not None
    assert held.card.checked.card.description == "another"


async def test_an_agent_whose_latest_version_another_deleted_can_still_be_read_and_set_right(
    server: Nacos, here: str
) -> None:
    agents = server.agents
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        await agents.publish(here, checked("a", version))
    await server.http.delete(A2A, {"namespaceId": here, "agentName": "a", "version": "1.2.0"})

    async def highest_of_the_rest() -> bool:
        held = await agents.get(here, "a")
        return held is not None and held.version == "1.1.0"

    await eventually(highest_of_the_rest)
    assert await agents.set_latest(here, "a", "1.0.0")
    held = await agents.get(here, "a")
    assert held is not None
    assert held.version == "1.0.0"


async def test_agents_of_others_are_read(server: Nacos, here: str) -> None:
    card = {
        "name": "weather",
        "description": "Tells the weather",
        "version": "v1",
        "protocolVersion": "0.3.0",
        "url": "http://10.0.0.1:8080",
        "preferredTransport": "JSONRPC",
        "capabilities": {"streaming": True, "stateTransitionHistory": True},
        "skills": [{"id": "w", "name": "Weather", "description": "d", "tags": ["t"]}],
    }
    form = {"namespaceId": here, "agentCard": json.dumps(card), "registrationType": "URL"}
    await server.http.post(A2A, form)
    held = await server.agents.get(here, "weather", "v1")
    assert held is not None
    assert not held.card.exact
    assert held.card.checked.card.supported_interfaces[0].protocol_version == "0.3"
    await server.http.put(
        A2A, {**form, "agentCard": json.dumps(card | {"version": "v2"}), "setAsLatest": "true"}
    )
    assert await server.agents.set_latest(here, "weather", "v1")
    told = await server.http.get(A2A, {"namespaceId": here, "agentName": "weather"})
    assert told["version"] == "v1"
    assert told["capabilities"]["stateTransitionHistory"] is True


PUBLISHER = """
import asyncio, sys
from nacos_cards import checked
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.server import Nacos

async def main(url, *versions):
    address = NacosAddress.parse(url)
    async with Nacos(address) as nacos:
        await asyncio.gather(*(nacos.agents.publish(address.namespace, checked("busy", v)) for v in versions))

asyncio.run(main(*sys.argv[1:]))
"""


def publisher(url: str, versions: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PUBLISHER, url, *versions], cwd=Path(__file__).parent)


async def test_versions_that_several_processes_publish_at_once_are_all_there(
    server: Nacos, here: str, nacos_url: str
) -> None:
    wanted = [f"1.{minor}.{patch}" for minor in range(4) for patch in range(3)]
    processes = [publisher(nacos_url, wanted[start::4]) for start in range(4)]
    codes = [await asyncio.to_thread(one.wait, 120) for one in processes]
    assert codes == [0, 0, 0, 0]
    found = await server.agents.versions(here, "busy")
    assert sorted(one.called for one in found) == sorted(wanted)
    assert [one.called for one in found if one.latest] == ["1.3.2"]


async def test_changes_of_agents_are_told_within_a_second_or_two(
    server: Nacos, here: str, nacos_url: str
) -> None:
    told: list[str] = []
    await server.agents.publish(here, checked("early"))
    changes = AgentChanges(server.agents, server.configs, here, told.append)
    changes.start()
    try:
        await until(lambda: told == ["early"])
        await until(lambda: changes.pushed)
        async with Nacos(NacosAddress.parse(nacos_url)) as other:

            async def heard(what: Any, called: str) -> None:
                told.clear()
                await what
                assert await until(lambda: called in told, 2.0) < 2.0

            await heard(other.agents.publish(here, checked("new agent")), "new agent")
            await heard(other.agents.publish(here, checked("new agent", "1.3.0")), "new agent")
            await heard(other.agents.set_latest(here, "new agent", "1.2.3"), "new agent")
            await heard(other.agents.delete(here, "new agent", "1.3.0"), "new agent")
            await heard(other.agents.delete(here, "new agent"), "new agent")
            form = {"namespaceId": here, "setAsLatest": "false"}
            native = await other.http.get(A2A, {"namespaceId": here, "agentName": "early"})
            moved = json.dumps(native | {"url": "http://moved:1"})
            await heard(other.http.put(A2A, form | {"agentCard": moved}), "early")
        assert {
            one.name for one in (await server.agents.all_versions(here, "early"))[0].card.checked.card.skills
        }
    finally:
        await changes.close()


async def test_changes_are_found_by_asking_when_nacos_tells_of_no_more_keys(server: Nacos, here: str) -> None:
    told: list[str] = []
    changes = AgentChanges(server.agents, server.configs, here, told.append)
    await changes.look()
    await server.agents.publish(here, checked("a"))
    await changes.look()
    assert told == ["a"]
    await changes.look()
    assert told == ["a"]
    await server.agents.delete(here, "a")
    await eventually(lambda: _looked(changes, told))
    await changes.close()


async def _looked(changes: AgentChanges, told: list[str]) -> bool:
    await changes.look()
    return set(told[1:]) == {"a"}


async def test_namespaces_are_listed(server: Nacos, here: str) -> None:
    assert {"public", here} <= set(await server.agents.namespaces())


async def test_an_agent_that_another_creates_at_the_same_moment_gets_both_versions(
    server: Nacos, here: str
) -> None:
    card = {
        "name": "a",
        "description": "d",
        "version": "0.9.0",
        "protocolVersion": "0.3.0",
        "url": "http://10.0.0.1:8080",
        "preferredTransport": "JSONRPC",
    }
    form = {"namespaceId": here, "agentCard": json.dumps(card), "registrationType": "URL"}
    await asyncio.gather(server.http.post(A2A, form), server.agents.publish(here, checked("a", "1.0.0")))
    assert sorted(one.called for one in await server.agents.versions(here, "a")) == ["0.9.0", "1.0.0"]
