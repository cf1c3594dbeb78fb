"""MCP servers as Nacos itself tells of them, where no catalogue keeps a copy."""

import asyncio
import logging
import time
from collections.abc import Sequence

from parley_registry.errors import BadRequest, McpRejected, RegistryUnavailable
from parley_registry.mcp.server import McpKey, McpRegistered, McpServer
from parley_registry.nacos.mcp import NacosMcp
from parley_registry.nacos.server import Nacos

log = logging.getLogger(__name__)

_AT_ONCE = 8
_LATEST = ""
"""The version to ask for when the latest is meant."""


class NacosMcpServers:
    """`library.McpRecord` that only reads: what Nacos cannot promise when a server is changed, a catalogue does."""

    def __init__(self, nacos: Nacos) -> None:
        self._nacos = nacos
        self._servers = NacosMcp(nacos.http)

    async def versions(self, key: McpKey) -> list[McpServer]:
        """All versions of a server that can be read, in no particular order."""
        named = (await self._servers.names(key.namespace)).get(key.name, ())
        return await self._read([(key, version) for version in named])

    async def page(
        self, namespace: str, words: Sequence[str], after: McpKey | None, limit: int
    ) -> list[McpServer]:
        """Up to `limit` servers in their latest versions, of one namespace (or for "" of all in Nacos's address), with every
        one of `words` in name, description or tools. Asks for each server there is."""
        namespaces = (namespace,) if namespace else sorted(self._nacos.address.namespaces)
        keys = [McpKey(one, name) for one in namespaces for name in sorted(await self._servers.names(one))]
        rest = [key for key in keys if after is None or key > after]
        if not words:
            rest = rest[:limit]
        found = await self._read([(key, _LATEST) for key in rest])
        return [one for one in found if all(word in _text(one) for word in words)][:limit]

    async def register(self, server: McpServer) -> McpRegistered:
        """Raises RegistryUnavailable: that goes through a catalogue."""
        raise self._needs_catalogue()

    async def delete(self, key: McpKey, version: str | None) -> bool:
        """Raises RegistryUnavailable: that goes through a catalogue."""
        raise self._needs_catalogue()

    async def _read(self, wanted: Sequence[tuple[McpKey, str]]) -> list[McpServer]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(key: McpKey, version: str) -> McpServer | None:
            async with gate:
                try:
                    return await self._servers.get(key, version, now=time.time())
                except (McpRejected, BadRequest) as error:
                    log.warning("the MCP server %s %s of Nacos is not shown: %s", key.name, version, error)
                    return None

        found = await asyncio.gather(*(one(*each) for each in wanted))
        return [server for server in found if server is not None]

    def _needs_catalogue(self) -> RegistryUnavailable:
        return RegistryUnavailable(
            "MCP servers are registered and deleted through a catalogue, and none has registered itself at "
            f"{self._nacos.address}; start one with `parley registry --nacos nacos://…`"
        )


def _text(server: McpServer) -> str:
    tools = (f"{tool.name} {tool.description}" for tool in server.tools)
    return "\n".join((server.name, server.description, *tools)).lower()
