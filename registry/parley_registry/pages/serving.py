"""The pages of MCP servers: those there are, and one with its tools."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from parley_registry.card import MAX_NAME, NAMESPACE
from parley_registry.mcp.library import McpLibrary
from parley_registry.mcp.server import McpKey
from parley_registry.mcp.wire import server_json
from parley_registry.pages.rendering import page
from parley_registry.pages.route import PageRoute
from parley_registry.searching.query import MAX_TEXT
from parley_registry.versions import MAX_VERSION

Namespace = Annotated[str, Path(pattern=NAMESPACE)]
Name = Annotated[str, Path(min_length=1, max_length=MAX_NAME)]

_PAGE = 50
_LISTED = 60


def mcp_pages(servers: McpLibrary) -> APIRouter:
    """The routes of the MCP servers' pages."""
    router = APIRouter(prefix="/mcp", include_in_schema=False, route_class=PageRoute)

    @router.get("", name="page-mcp-list")
    async def listed(
        text: Annotated[str, Query(max_length=MAX_TEXT)] = "",
        cursor: Annotated[str, Query(max_length=2048)] = "",
    ) -> Response:
        found = await servers.list("", text, _PAGE, cursor)
        shown = [server_json(one, schemas=False) for one in found.servers]
        return page("mcp_list.html", text=text, servers=shown, following=found.next)

    @router.get("/{namespace}/{name:path}", name="page-mcp")
    async def server(
        namespace: Namespace, name: Name, version: Annotated[str, Query(max_length=MAX_VERSION)] = ""
    ) -> Response:
        key = McpKey(namespace, name)
        versions = await servers.versions(key)
        return page(
            "mcp.html",
            server=server_json(await servers.get(key, version or None)),
            versions=[server_json(one, schemas=False) for one in versions[:_LISTED]],
            most=_LISTED,
        )

    return router
