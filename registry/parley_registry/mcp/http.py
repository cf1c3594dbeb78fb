"""MCP servers in a registry service, over its HTTP API."""

from collections.abc import Mapping
from typing import Any

from parley_registry.calls import Calls
from parley_registry.mcp.server import McpKey, McpPage, McpRegistered, McpServer
from parley_registry.mcp.wire import read_server, server_json

_REGISTERED = ("namespace", "name", "version", "description", "protocol", "endpoints", "tools", "launch")


class HttpMcpServers:
    """`RegistryClient.mcp`. Every call may raise RegistryUnavailable and NotAllowed."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def get(self, key: McpKey, version: str | None = None) -> McpServer:
        """The latest version of a server, or the one asked for. Raises UnknownMcpServer."""
        return await self._calls.ask(read_server, "GET", "/v1/mcp/server", query=_query(key, version))

    async def versions(self, key: McpKey) -> list[McpServer]:
        """All versions of a server (tools without schemas), highest first. Raises UnknownMcpServer."""
        return await self._calls.ask(_servers, "GET", "/v1/mcp/versions", query=_query(key, None))

    async def list(self, namespace: str = "", text: str = "", limit: int = 50, cursor: str = "") -> McpPage:
        """Servers in their latest versions (tools without schemas), by namespace and name: of one namespace (or of all,
        for ""), with every word of `text` in name, description or tools. Raises BadRequest."""
        query = {"namespace": namespace, "text": text, "limit": str(limit), "cursor": cursor}
        return await self._calls.ask(_page, "GET", "/v1/mcp", query={k: v for k, v in query.items() if v})

    async def register(self, server: McpServer) -> McpRegistered:
        """Keep a version of a server; the same again is no error. Raises McpRejected, VersionConflict."""
        told: dict[str, Any] = server_json(server)
        status, kept = await self._calls.answered(
            read_server, "POST", "/v1/mcp", {name: told[name] for name in _REGISTERED}
        )
        return McpRegistered(kept, status == 201)

    async def delete(self, key: McpKey, version: str | None = None) -> None:
        """Delete a version, or the server with all of them. Raises UnknownMcpServer, LatestInUse."""
        await self._calls.call("DELETE", "/v1/mcp/server", query=_query(key, version))


def _servers(told: Mapping[str, Any]) -> list[McpServer]:
    return [read_server(one) for one in told["servers"]]


def _page(told: Mapping[str, Any]) -> McpPage:
    return McpPage(tuple(_servers(told)), told["next"])


def _query(key: McpKey, version: str | None) -> dict[str, str]:
    return {"namespace": key.namespace, "name": key.name} | ({"version": version} if version else {})
