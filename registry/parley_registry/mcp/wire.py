"""MCP servers as JSON, as the service answers and as the database keeps them."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from parley_registry.mcp.server import McpServer, Tool

_REGISTERED = ("description", "protocol", "endpoints", "tools", "launch")


def server_json(server: McpServer, *, schemas: bool = True) -> dict[str, Any]:
    """A server as JSON; without `schemas`, its tools have no `inputSchema`."""
    return {
        "namespace": server.namespace,
        "name": server.name,
        "version": server.version,
        "description": server.description,
        "protocol": server.protocol,
        "endpoints": list(server.endpoints),
        "tools": [
            {"name": one.name, "description": one.description}
            | ({"inputSchema": dict(one.input_schema)} if schemas else {})
            for one in server.tools
        ],
        "launch": dict(server.launch),
        "latest": server.latest,
        "health": server.health,
        "source": server.source,
        "updated": server.updated,
        "digest": server.digest,
    }


def read_server(told: Mapping[str, Any]) -> McpServer:
    """The server that such JSON tells. Raises KeyError or TypeError for any other."""
    tools = tuple(Tool(one["name"], one["description"], one.get("inputSchema", {})) for one in told["tools"])
    plain = {name: told[name] for name in McpServer.__slots__ if name not in ("tools", "endpoints")}
    return McpServer(tools=tools, endpoints=tuple(told["endpoints"]), **plain)


def with_digest(server: McpServer) -> McpServer:
    """The same with its digest; health and latest are no part of that."""
    told = server_json(server)
    parts = orjson.dumps({name: told[name] for name in _REGISTERED}, option=orjson.OPT_SORT_KEYS)
    return replace(server, digest=hashlib.sha256(parts).hexdigest())
