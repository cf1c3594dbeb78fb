"""MCP servers in the catalogue: registered, found, deleted, refused with every fault; the same on every database."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from registry_service import RegistryThread

from parley_registry.backends.sql import SqlRecord
from parley_registry.client import BadRequest, LatestInUse, RegistryClient, VersionConflict
from parley_registry.errors import McpRejected, UnknownMcpServer
from parley_registry.mcp.check import MAX_SCHEMA, MAX_TOOLS, check_server
from parley_registry.mcp.http import HttpMcpServers
from parley_registry.mcp.library import McpLibrary
from parley_registry.mcp.record import SqlMcpServers
from parley_registry.mcp.server import McpKey, McpServer

KEY = McpKey("public", "io.github.team/weather")


def told(version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    return {
        "name": KEY.name,
        "version": version,
        "description": "Weather of a place",
        "protocol": "streamable-http",
        "endpoints": ["https://weather.example.com/mcp"],
        "tools": [
            {
                "name": "forecast",
                "description": "The forecast <b>for</b> a 地点",
                "inputSchema": {"type": "object", "properties": {"place": {"type": "string"}}},
            }
        ],
        **more,
    }


def server(version: str = "1.0.0", **more: Any) -> McpServer:
    return check_server(told(version, **more), now=1.5)


@pytest.fixture(params=["sqlite", "postgres", "service"])
async def servers(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[McpLibrary | HttpMcpServers]:
    if request.param == "service":
        with RegistryThread(tmp_path / "r.db") as running:
            async with RegistryClient(running.url) as client:
                yield client.mcp
        return
    url = f"sqlite:///{tmp_path}/r.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_dsn")
    record = SqlRecord(url)
    await record.open()
    yield McpLibrary(SqlMcpServers(record.database))
    await record.close()


Servers = McpLibrary | HttpMcpServers


async def test_a_server_is_kept_as_it_was_registered(servers: Servers) -> None:
    done = await servers.register(server())
    assert (done.created, done.server.latest, done.server.health) == (True, True, "unknown")
    kept = await servers.get(KEY)
    assert (kept.tools, kept.endpoints, kept.protocol, kept.digest) == (
        server().tools,
        ("https://weather.example.com/mcp",),
        "streamable-http",
        server().digest,
    )
    assert not (await servers.register(server())).created
    with pytest.raises(VersionConflict, match=r"1\.0\.0 is there with other content"):
        await servers.register(server(description="Other"))


async def test_versions_latest_and_deletion_go_as_those_of_agents(servers: Servers) -> None:
    for version in ("1.9.0", "1.10.0", "2.0.0-rc.1"):
        await servers.register(server(version))
    assert (await servers.get(KEY)).version == "1.10.0"
    found = await servers.versions(KEY)
    assert [(one.version, one.latest) for one in found] == [
        ("2.0.0-rc.1", False),
        ("1.10.0", True),
        ("1.9.0", False),
    ]
    with pytest.raises(LatestInUse):
        await servers.delete(KEY, "1.10.0")
    await servers.delete(KEY, "1.9.0")
    with pytest.raises(UnknownMcpServer):
        await servers.get(KEY, "1.9.0")
    await servers.delete(KEY)
    for call in (servers.get(KEY), servers.delete(KEY)):
        with pytest.raises(UnknownMcpServer, match="no MCP server named"):
            await call


async def test_a_list_is_searched_by_tools_too_and_comes_in_pages(servers: Servers) -> None:
    for name in ("south", "north", "west"):
        await servers.register(server(name=name, description=f"Server {name.upper()}"))
        await servers.register(server("2.0.0", name=name, description=f"Server {name.upper()}"))
    seen, cursor = [], ""
    while True:
        page = await servers.list(limit=2, cursor=cursor)
        seen += [(one.name, one.version) for one in page.servers]
        cursor = page.next
        if not cursor:
            break
    assert seen == [("north", "2.0.0"), ("south", "2.0.0"), ("west", "2.0.0")]
    every = ["north", "south", "west"]
    for text, names in {
        "forecast": every,
        "SERVER south": ["south"],
        "地点": every,
        "nothing": [],
        "_": [],
    }.items():
        assert [one.name for one in (await servers.list(text=text)).servers] == names, text
    assert (await servers.list("elsewhere")).servers == ()
    with pytest.raises(BadRequest):
        await servers.list(cursor="x")


async def test_a_change_is_told_in_the_watch(registry: RegistryThread) -> None:
    async with RegistryClient(registry.url) as client:
        await client.mcp.register(server())
        await client.mcp.delete(KEY)
        async with aclosing(client.watch(after=0)) as watch:
            seen = [await anext(watch) for _ in range(2)]
    assert [(one.kind, one.name, one.version) for one in seen] == [("mcp", KEY.name, "1.0.0")] * 2


def faults(**changes: Any) -> dict[str, str]:
    with pytest.raises(McpRejected) as refused:
        check_server(told(**changes), now=0.0)
    return {fault.field: fault.message for fault in refused.value.faults}


def test_every_fault_is_named_at_once() -> None:
    found = faults(
        name="../x y",
        version="new",
        protocol="websocket",
        endpoints=["javascript:alert(1)", "https://user:secret@example.com/mcp", 7],
        tools=[{"name": "a"}, {"name": "a", "inputSchema": []}, {"description": 3}, "tool"],
        description="\x1b[31m",
        launch="rm",
        extra=1,
    )
    assert set(found) == {
        "name",
        "version",
        "protocol",
        "endpoints[0]",
        "endpoints[1]",
        "endpoints[2]",
        "tools[1].name",
        "tools[1].inputSchema",
        "tools[2].name",
        "tools[2].description",
        "tools[3]",
        "description",
        "launch",
        "extra",
    }
    assert "secret" not in str(found)


def test_sizes_are_bounded() -> None:
    assert "at most" in faults(tools=[{"name": f"t{n}"} for n in range(MAX_TOOLS + 1)])["tools"]
    wide = {"x": "y" * MAX_SCHEMA}
    assert "at most" in faults(tools=[{"name": "t", "inputSchema": wide}])["tools[0].inputSchema"]
    tools = [{"name": f"t{n}", "inputSchema": {"x": "y" * 30_000}} for n in range(8)]
    assert "at most" in faults(tools=tools)[""]


def test_a_stdio_server_has_no_endpoints_and_another_needs_one() -> None:
    made = server(protocol="stdio", endpoints=[], launch={"command": "npx", "args": ["-y", "weather"]})
    assert made.launch["command"] == "npx"
    assert "stdio" in faults(protocol="stdio")["endpoints"]
    assert "at least one" in faults(endpoints=[])["endpoints"]
