"""The operations on MCP servers of one registry service."""

from collections.abc import Sequence
from typing import Protocol

from parley_registry.errors import UnknownMcpServer
from parley_registry.mcp.server import McpKey, McpPage, McpRegistered, McpServer
from parley_registry.prompts.library import read_cursor, write_cursor
from parley_registry.versions import highest_first, is_version


class McpRecord(Protocol):
    """Where servers are kept: `record.SqlMcpServers` says what each call promises, `mirror.MirroredMcpServers` is the other."""

    async def versions(self, key: McpKey) -> list[McpServer]:
        """All versions of a server."""

    async def page(
        self, namespace: str, words: Sequence[str], after: McpKey | None, limit: int
    ) -> list[McpServer]:
        """Servers in their latest versions."""

    async def register(self, server: McpServer) -> McpRegistered:
        """Keep a version."""

    async def delete(self, key: McpKey, version: str | None) -> bool:
        """Delete a version, or all of a server."""


class McpLibrary:
    """What `http.HttpMcpServers` calls through the service."""

    def __init__(self, record: McpRecord) -> None:
        self._record = record

    async def get(self, key: McpKey, version: str | None = None) -> McpServer:
        """The latest version of a server, or the one asked for. Raises UnknownMcpServer."""
        for one in await self.versions(key):
            if one.latest if version is None else one.version == version:
                return one
        raise UnknownMcpServer(f"the MCP server {key.name} has no version {version or 'that is the latest'}")

    async def versions(self, key: McpKey) -> list[McpServer]:
        """All versions of a server, highest first. Raises UnknownMcpServer."""
        found = {one.version: one for one in await self._record.versions(key)}
        if not found:
            raise _unknown(key)
        semantic = highest_first(version for version in found if is_version(version))
        others = sorted((version for version in found if not is_version(version)), reverse=True)
        return [found[version] for version in (*semantic, *others)]

    async def register(self, server: McpServer) -> McpRegistered:
        """Keep a version of a server. Raises VersionConflict."""
        return await self._record.register(server)

    async def delete(self, key: McpKey, version: str | None = None) -> None:
        """Delete a version, or the server with all of them. Raises UnknownMcpServer, LatestInUse."""
        if not await self._record.delete(key, version):
            raise _unknown(key)

    async def list(self, namespace: str = "", text: str = "", limit: int = 50, cursor: str = "") -> McpPage:
        """Servers in their latest versions, by namespace and name, with every word of `text` in name, description or
        tools. Raises BadRequest."""
        after = McpKey(*read_cursor(cursor)) if cursor else None
        found = await self._record.page(namespace, text.lower().split(), after, limit + 1)
        more = len(found) > limit
        return McpPage(tuple(found[:limit]), write_cursor(found[limit - 1].key) if more else "")


def _unknown(key: McpKey) -> UnknownMcpServer:
    where = "here" if key.namespace == "public" else f"in the namespace {key.namespace!r}"
    return UnknownMcpServer(
        f"there is no MCP server named {key.name!r} {where}; `parley mcp list` shows those there are"
    )
