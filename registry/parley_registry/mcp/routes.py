"""MCP servers over HTTP: /v1/mcp…; names have slashes in them, so they are parameters and no part of the path."""

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from parley_registry.card import NAMESPACE
from parley_registry.entry import PUBLIC
from parley_registry.mcp.check import MCP_NAME, check_server
from parley_registry.mcp.library import McpLibrary
from parley_registry.mcp.server import McpKey
from parley_registry.mcp.wire import server_json
from parley_registry.routing import StrictRoute, answer, problems

MAX_PAGE = 100

Name = Annotated[str, Query(pattern=MCP_NAME, examples=["io.github.team/weather"])]
Namespace = Annotated[str, Query(pattern=NAMESPACE)]
Version = Annotated[str, Query(max_length=64, examples=["1.2.0"])]


class ToolModel(BaseModel):
    name: str
    description: str
    inputSchema: dict[str, Any] = Field({}, description="JSON Schema; left out in lists.")


class McpServerModel(BaseModel):
    """One version of an MCP server."""

    namespace: str
    name: str
    version: str
    description: str
    protocol: Literal["stdio", "sse", "streamable-http"]
    endpoints: list[str] = Field(description="URLs; none for stdio.")
    tools: list[ToolModel]
    launch: dict[str, Any] = Field(description="How a stdio server is started, in its publisher's words.")
    latest: bool
    health: Literal["up", "down", "unknown"]
    source: str = Field(description='"nacos" for one that is kept there, "" for one registered here.')
    updated: float
    digest: str


class McpPageModel(BaseModel):
    servers: list[McpServerModel]
    next: str = Field(description='Cursor of the next page, or "".')


class McpVersionsModel(BaseModel):
    servers: list[McpServerModel] = Field(description="Highest first.")


def mcp_routes(servers: McpLibrary, changed: Callable[[], None]) -> APIRouter:
    """The routes over `servers`; `changed` is called after each change."""
    router = APIRouter(prefix="/v1", tags=["mcp"], route_class=StrictRoute)

    @router.get("/mcp", response_model=McpPageModel, responses=problems(400))
    async def list_mcp_servers(
        text: Annotated[str, Query(max_length=256)] = "",
        namespace: Annotated[str, Query(max_length=64)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
        cursor: Annotated[str, Query(max_length=1024)] = "",
    ) -> Response:
        """MCP servers in their latest versions, with every word of `text` in name, description or tools."""
        page = await servers.list(namespace, text, limit, cursor)
        told = [server_json(one, schemas=False) for one in page.servers]
        return answer({"servers": told, "next": page.next})

    @router.post(
        "/mcp",
        response_model=McpServerModel,
        responses={
            201: {"model": McpServerModel, "description": "A new version."},
            **problems(400, 409, 413, 422),
        },
    )
    async def register_mcp_server(told: Annotated[dict[str, Any], Body()]) -> Response:
        """Register a version of an MCP server. The same again is the same (200)."""
        done = await servers.register(check_server(told, now=time.time()))
        changed()
        return answer(server_json(done.server), 201 if done.created else 200)

    @router.get("/mcp/server", response_model=McpServerModel, responses=problems(400, 404))
    async def get_mcp_server(name: Name, version: Version = "", namespace: Namespace = PUBLIC) -> Response:
        """The latest version of an MCP server, or the one asked for."""
        return answer(server_json(await servers.get(McpKey(namespace, name), version or None)))

    @router.get("/mcp/versions", response_model=McpVersionsModel, responses=problems(400, 404))
    async def mcp_server_versions(name: Name, namespace: Namespace = PUBLIC) -> Response:
        """All versions of an MCP server."""
        found = await servers.versions(McpKey(namespace, name))
        return answer({"servers": [server_json(one, schemas=False) for one in found]})

    @router.delete("/mcp/server", status_code=204, responses=problems(400, 404, 409))
    async def delete_mcp_server(name: Name, version: Version = "", namespace: Namespace = PUBLIC) -> Response:
        """Delete a version of an MCP server, or all of them."""
        await servers.delete(McpKey(namespace, name), version or None)
        changed()
        return Response(status_code=204)

    return router
