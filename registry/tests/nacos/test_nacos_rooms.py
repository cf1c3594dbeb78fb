"""Prompts and MCP servers that a real Nacos keeps, in the copy that the registry serves."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nacos_kit import eventually

from parley_registry.backends.sql import SqlRecord
from parley_registry.client import AgentVersion, BadRequest, PromptKey, Prompts, RegistryUnavailable
from parley_registry.errors import McpRejected, UnknownMcpServer, UnknownPrompt
from parley_registry.mcp.check import check_server
from parley_registry.mcp.server import McpKey, McpServer
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.http import NacosHttp
from parley_registry.nacos.mcp import NacosMcp
from parley_registry.nacos.naming import Endpoint, Service
from parley_registry.nacos.registry import NacosRegistry
from parley_registry.nacos.server import Nacos
from parley_registry.prompts.check import check_prompt
from parley_registry.prompts.prompt import PromptVersion
from parley_registry.rights import Rights
from parley_registry.rooms import Rooms
from parley_registry.warden import Warden

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def address(nacos_url: str) -> NacosAddress:
    return NacosAddress.parse(nacos_url)


@pytest.fixture
async def rooms(address: NacosAddress, tmp_path: Path) -> AsyncIterator[Rooms]:
    record = SqlRecord(f"sqlite:///{tmp_path}/r.db")
    await record.open()
    async with Nacos(address) as nacos:
        made = Rooms(record.database, warden(record), nacos)
        running = asyncio.create_task(made.run())
        yield made
        running.cancel()
        await asyncio.wait([running])
    await record.close()


def warden(record: SqlRecord) -> Warden:
    """One that lets everybody."""
    return Warden(record, Rights((), (), ""))


def prompt(space: str, version: str, text: str, name: str = "review") -> PromptVersion:
    told = {"namespace": space, "name": name, "version": version, "template": text}
    return check_prompt(told, now=1.5)[0]


async def test_prompts_changed_by_others_are_in_the_copy_within_two_seconds(
    rooms: Rooms, address: NacosAddress
) -> None:
    key = PromptKey(address.namespace, "review")
    async with NacosRegistry(address) as other:
        await other.prompts.push(prompt(key.namespace, "1.0.0", "one"), ["production"])

        async def template() -> str:
            try:
                return (await rooms.prompts.version(key, (await rooms.prompts.get(key)).chosen())).template
            except UnknownPrompt:
                return ""

        await eventually(template, 60.0)  # the first event of a watch takes its time
        for version in ("1.1.0", "1.2.0"):
            await other.prompts.push(prompt(key.namespace, version, version), ["production"])
            began = time.monotonic()
            while await template() != version:
                assert time.monotonic() - began < 20.0
                await asyncio.sleep(0.02)
        assert [one.name for one in (await rooms.prompts.list(key.namespace)).prompts] == ["review"]
        await other.prompts.delete(key)
        began = time.monotonic()
        while await template():
            assert time.monotonic() - began < 20.0
            await asyncio.sleep(0.02)


async def test_what_is_changed_here_is_in_nacos_and_in_the_copy_at_once(
    rooms: Rooms, address: NacosAddress
) -> None:
    key = PromptKey(address.namespace, "review")
    await rooms.prompts.push(prompt(key.namespace, "1.0.0", "one"), ["production"])
    await rooms.prompts.push(prompt(key.namespace, "1.1.0", "two"))
    await rooms.prompts.bind(key, AgentVersion("coder", "2.0.0"), "1.1.0")
    async with (
        NacosRegistry(address) as other,
        Prompts(other) as stable,
        Prompts(other, agent="coder", agent_version="2.0.0") as canary,
    ):
        assert (await stable.get("review")).template == "one"
        assert (await canary.get("review")).template == "two"
        await rooms.prompts.label(key, "production", "1.1.0")
        began = time.monotonic()
        while (await stable.get("review")).template != "two":
            assert time.monotonic() - began < 20.0
            await asyncio.sleep(0.01)
    await rooms.prompts.delete(key)
    with pytest.raises(UnknownPrompt):
        await rooms.prompts.get(key)
    with pytest.raises(BadRequest, match="is none of them"):
        await rooms.prompts.push(prompt("elsewhere", "1.0.0", "x"))


def server(space: str, version: str = "1.0.0", **more: Any) -> McpServer:
    told = {
        "namespace": space,
        "name": "weather",
        "version": version,
        "description": "Weather of a 地点",
        "protocol": "streamable-http",
        "endpoints": ["https://weather.example.com:443/mcp"],
        "tools": [
            {"name": "forecast", "description": "d", "inputSchema": {"type": "object", "properties": {}}}
        ],
        **more,
    }
    return check_server(told, now=1.5)


async def test_an_mcp_server_registered_here_is_in_nacos_as_it_was(
    rooms: Rooms, address: NacosAddress
) -> None:
    key = McpKey(address.namespace, "weather")
    for version in ("1.0.0", "1.1.0"):
        done = await rooms.mcp.register(server(key.namespace, version))
        assert done.created
    assert not (await rooms.mcp.register(server(key.namespace))).created
    kept = await rooms.mcp.get(key)
    assert (kept.version, kept.latest, kept.source) == ("1.1.0", True, "nacos")
    assert kept.health == "unknown", "nobody looks at an endpoint that was entered by hand"
    assert (kept.tools, kept.endpoints) == (server("x").tools, ("https://weather.example.com/mcp",))
    with pytest.raises(BadRequest, match="with all its versions"):
        await rooms.mcp.delete(key, "1.0.0")
    await rooms.mcp.delete(key)
    with pytest.raises(UnknownMcpServer):
        await rooms.mcp.get(key)


async def test_what_nacos_cannot_hold_is_refused_with_every_fault(
    rooms: Rooms, address: NacosAddress
) -> None:
    wrong = server(
        address.namespace, "1.0.0+b", name="io.github/weather", endpoints=["http://a:1/x", "http://b:1/x"]
    )
    with pytest.raises(McpRejected) as refused:
        await rooms.mcp.register(wrong)
    assert [fault.field for fault in refused.value.faults] == ["name", "version", "endpoints"]


async def test_mcp_servers_of_others_are_found_at_the_next_look_and_hostile_ones_are_left_out(
    rooms: Rooms, address: NacosAddress
) -> None:
    http = NacosHttp(address)
    others = NacosMcp(http)
    space = address.namespace
    await others.put(server(space, name="good"), new=True, latest=True)
    await others.put(
        server(space, name="stdio-one", protocol="stdio", endpoints=[], launch={"command": "x"}),
        new=True,
        latest=True,
    )
    hostile = server(space, name="hostile")
    await others.put(
        McpServer(space, "hostile", "1.0.0", "\x1b[31mred", "sse", hostile.endpoints), new=True, latest=True
    )

    async def names() -> list[str]:
        return [one.name for one in (await rooms.mcp.list(space, "")).servers]

    async def both() -> bool:
        return await names() == ["good", "stdio-one"]

    await eventually(both, 60.0)
    assert (await rooms.mcp.get(McpKey(space, "stdio-one"))).health == "unknown"
    await others.delete(McpKey(space, "good"))

    async def one() -> bool:
        return await names() == ["stdio-one"]

    await eventually(one, 60.0)
    await http.aclose()


async def test_an_mcp_server_is_up_while_a_process_keeps_its_endpoint_registered(
    address: NacosAddress,
) -> None:
    http = NacosHttp(address)
    others, key = NacosMcp(http), McpKey(address.namespace, "weather")
    of = Service(key.namespace, "DEFAULT_GROUP", "weather-service")
    told = {
        "name": key.name,
        "protocol": "mcp-streamable",
        "frontProtocol": "mcp-streamable",
        "description": "Weather of a place",
        "version": "1.0.0",
        "versionDetail": {"version": "1.0.0"},
        "enabled": True,
        "remoteServerConfig": {"exportPath": "/mcp"},
    }
    where = {"namespaceId": of.namespace, "groupName": of.group, "serviceName": of.name}
    form = {"namespaceId": key.namespace, "mcpName": key.name, "serverSpecification": json.dumps(told)}
    endpoint = json.dumps({"type": "REF", "data": {**where, "transportProtocol": "http"}})
    async with Nacos(address) as process:  # its service has to be there first
        await process.naming.register(of, Endpoint("127.0.0.1", 9001, {}))
        await eventually(lambda: process.naming.instances(of))
        await http.post("/v3/admin/ai/mcp", form | {"endpointSpecification": endpoint})

    async def health(wanted: str) -> bool:
        return (await others.get(key, "1.0.0", now=0.0)).health == wanted

    await eventually(lambda: health("down"))
    async with Nacos(address) as process:
        await process.naming.register(of, Endpoint("127.0.0.1", 9001, {}))
        await eventually(lambda: health("up"))
    await eventually(lambda: health("down"))
    await http.aclose()


async def test_with_nacos_away_the_copy_is_served_and_changes_are_refused(
    tmp_path: Path, address: NacosAddress
) -> None:
    record = SqlRecord(f"sqlite:///{tmp_path}/r.db")
    await record.open()
    key = PromptKey(address.namespace, "review")
    async with Nacos(address) as nacos:
        made = Rooms(record.database, warden(record), nacos)
        await made.prompts.push(prompt(key.namespace, "1.0.0", "one"), ["production"])
        await made.mcp.register(server(key.namespace))
    async with Nacos(NacosAddress.parse("nacos://127.0.0.1:1/" + key.namespace), timeout=1.0) as away:
        made = Rooms(record.database, warden(record), away)
        running = asyncio.create_task(made.run())
        assert (await made.prompts.version(key, "1.0.0")).template == "one"
        assert (await made.mcp.get(McpKey(*key)._replace(name="weather"))).version == "1.0.0"
        with pytest.raises(RegistryUnavailable):
            await made.prompts.push(prompt(key.namespace, "1.1.0", "two"))
        with pytest.raises(RegistryUnavailable):
            await made.mcp.register(server(key.namespace, "2.0.0"))
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])
    await record.close()
