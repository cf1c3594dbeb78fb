"""What the registry says of an MCP server: where it is, how it is spoken to, and which tools it has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from parley_registry.entry import Health

Transport = Literal["stdio", "sse", "streamable-http"]
PROTOCOLS: tuple[Transport, ...] = ("stdio", "sse", "streamable-http")


class McpKey(NamedTuple):
    """What identifies an MCP server in a registry: names are unique within their namespace."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of an MCP server, as the server describes it. `input_schema` is JSON Schema; {} where none is told."""

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class McpServer:
    """One version of an MCP server.

    `endpoints` are its URLs (none for stdio), `launch` how a stdio server is started, as its publisher wrote it (data,
    never run by the registry). `health` is "up" or "down" where another registry watches its endpoints, else
    "unknown". `source` is "nacos" for one that is kept there, "" for one registered here. `updated` is in seconds
    since the epoch; `digest` is over all that was registered.
    """

    namespace: str
    name: str
    version: str
    description: str = ""
    protocol: Transport = "streamable-http"
    endpoints: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    launch: Mapping[str, Any] = field(default_factory=dict)
    latest: bool = False
    health: Health = "unknown"
    source: str = ""
    updated: float = 0.0
    digest: str = ""

    @property
    def key(self) -> McpKey:
        return McpKey(self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class McpRegistered:
    """What became of a registration: the server as it is kept, and whether this version is new."""

    server: McpServer
    created: bool


@dataclass(frozen=True, slots=True)
class McpPage:
    """One page of a list, by namespace and name, each server in its latest version. `next` is the cursor of the page
    that follows, or ""."""

    servers: tuple[McpServer, ...]
    next: str


class McpServers(Protocol):
    """MCP servers as the other parts see them, whichever registry they are in; `http.HttpMcpServers` says what each call
    promises and raises."""

    async def get(self, key: McpKey, version: str | None = None) -> McpServer:
        """The latest version of a server, or the one asked for."""

    async def versions(self, key: McpKey) -> list[McpServer]:
        """All versions of a server, highest first."""

    async def list(self, namespace: str = "", text: str = "", limit: int = 50, cursor: str = "") -> McpPage:
        """Servers in their latest versions, by namespace and name."""

    async def register(self, server: McpServer) -> McpRegistered:
        """Keep a version of a server."""

    async def delete(self, key: McpKey, version: str | None = None) -> None:
        """Delete a version, or the server with all of them."""
