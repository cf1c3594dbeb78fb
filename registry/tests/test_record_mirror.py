"""The copy of what Nacos holds, without Nacos: what it says after a process ended in the middle, and by a wrong clock."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from registry_service import card_json

from parley_registry.audit import Actor
from parley_registry.backends.nacos.left import Left
from parley_registry.backends.sql.mirror import SqlMirror
from parley_registry.backends.sql.mirroring import Original
from parley_registry.card import check_card
from parley_registry.entry import Agent
from parley_registry.errors import NotOwner
from parley_registry.mcp.check import check_server
from parley_registry.mcp.record import SqlMcpServers
from parley_registry.prompts.prompt import Prompt
from parley_registry.prompts.records.sql import SqlPrompts
from parley_registry.rollout import Rollout

CODER = Agent("public", "coder")
ANN, BOB = Actor("ann", "127.0.0.1"), Actor("bob", "127.0.0.1")


@pytest.fixture(params=["sqlite", "postgres"])
async def copy(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlMirror]:
    sqlite = request.param == "sqlite"
    mirror = SqlMirror(f"sqlite:///{tmp_path}/copy.db" if sqlite else request.getfixturevalue("postgres_dsn"))
    await mirror.open()
    yield mirror
    await mirror.close()


async def test_an_agent_is_its_publishers_though_the_registry_ended_before_it_was_copied(
    copy: SqlMirror,
) -> None:
    await copy.admit(CODER, ANN)  # then it is written to Nacos, and the process is killed
    await copy.mirror(CODER, [original()], Rollout(*CODER), since=await copy.last_change())
    entry = await copy.latest(CODER)
    assert entry is not None
    assert entry.owner == "ann"
    with pytest.raises(NotOwner):
        await copy.admit(CODER, BOB)


async def test_what_others_put_into_nacos_is_nobodys(copy: SqlMirror) -> None:
    await copy.mirror(CODER, [original()], Rollout(*CODER), since=await copy.last_change())
    entry = await copy.latest(CODER)
    assert entry is not None
    assert entry.owner == ""
    await copy.admit(CODER, BOB)


async def test_a_clock_that_was_ahead_does_not_make_the_copy_look_fresh(copy: SqlMirror) -> None:
    await copy.set_synced("public", time.time() + 86400)
    assert await copy.synced("public") == 0.0
    now = time.time()
    await copy.set_synced("public", now)
    assert await copy.synced("public") == now
    await copy.set_synced("public", now - 5)
    assert await copy.synced("public") == now


async def put(copy: SqlMirror, namespace: str) -> Agent:
    """Something of each kind, as it is copied from Nacos, changed by Ann through the registry."""
    agent = Agent(namespace, "coder")
    await copy.mirror(agent, [original()], Rollout(*agent), since=await copy.last_change(), by=ANN)
    await SqlPrompts(copy.database).copy(Prompt(namespace, "review"), ())
    told = {
        "namespace": namespace,
        "name": "weather",
        "version": "1.0.0",
        "description": "Weather of a place",
        "protocol": "streamable-http",
        "endpoints": ["https://weather.example.com/mcp"],
        "tools": [],
    }
    server = check_server(told, now=1.0, source="nacos")
    await SqlMcpServers(copy.database).copy(server.key, [replace(server, latest=True)])
    return agent


async def shown(copy: SqlMirror, namespace: str) -> list[str]:
    agents = [one.name for one in await copy.page(None, 100) if one.namespace == namespace]
    prompts = await SqlPrompts(copy.database).page(namespace, (), None, 100)
    servers = await SqlMcpServers(copy.database).page(namespace, (), None, 100)
    return [*agents, *(one.name for one in (*prompts, *servers))]


async def test_copies_of_a_namespace_that_nobody_follows_any_more_go(copy: SqlMirror) -> None:
    agents = {namespace: await put(copy, namespace) for namespace in ("kept", "left", "just-left", "own")}
    weather = Agent("left", "weather")
    checked = check_card(card_json(weather.name))
    await copy.publish(checked, namespace="left", instance=None, source="https://weather.example.com/card")
    for namespace, ago in (("kept", 1000.0), ("left", 1000.0), ("just-left", 5.0)):
        await copy.set_synced(namespace, time.time() - ago)
    before = await copy.last_change()

    await Left(copy, ["kept"]).look()
    everything = ["coder", "review", "weather"]
    assert await shown(copy, "kept") == await shown(copy, "just-left") == everything
    assert await shown(copy, "own") == everything, "of which it was never told that they are copies"
    assert await shown(copy, "left") == ["weather"], "that one is no copy"
    assert await copy.owner(agents["left"]) == "ann"
    told = {(one.kind, one.namespace, one.name) for one in (await copy.changes(before, 100)).changes}
    assert told == {
        ("deleted", "left", "coder"),
        ("prompt", "left", "review"),
        ("mcp", "left", "weather"),
    }
    [noted] = await copy.audit(agent=agents["left"])
    assert (noted.action, noted.detail) == ("delete", "its namespace is not followed any more")

    after = await copy.last_change()
    await put(copy, "left")  # it is followed again, as far as anybody knows
    await Left(copy, ["kept"]).look()
    assert await shown(copy, "left") == ["coder", "weather", "review", "weather"]
    assert await copy.last_change() > after


def original() -> Original:
    checked = check_card(card_json())
    return Original("1.0.0", checked.json, checked.digest, True, ())
