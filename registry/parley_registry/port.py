"""The registry as the other parts see it, whichever it is: `client.RegistryClient` speaks to the registry service."""

from collections.abc import AsyncGenerator
from typing import Protocol, Unpack

from a2a.types import AgentCard

from parley_registry.criteria import Criteria
from parley_registry.entry import Change, Entry, Instance, Page
from parley_registry.mcp.server import McpServers
from parley_registry.prompts.source import PromptSource
from parley_registry.rollout import Rollout


class Registry(Protocol):
    """One registry, concerning the agents of one namespace. What each call promises and raises is said at
    `client.RegistryClient`, call by call."""

    @property
    def namespace(self) -> str:
        """The namespace of the agents that calls are about."""

    @property
    def mcp(self) -> McpServers:
        """Its MCP servers, in all namespaces."""

    @property
    def prompts(self) -> PromptSource:
        """Its prompts, in all namespaces; `client.Prompts` is how an executor gets one of them."""

    async def aclose(self) -> None:
        """Let go of the connections; watches end."""

    async def publish(self, card: AgentCard, *, instance: Instance | None = None) -> Entry:
        """Publish a card as a version of its agent, and announce a running instance of it."""

    async def heartbeat(self, name: str, version: str, instance_id: str) -> None:
        """Say that an instance lives. Raises UnknownInstance when it has to be published again."""

    async def withdraw(self, name: str, version: str, instance_id: str) -> None:
        """Say that an instance stops now."""

    async def get(self, name: str, version: str | None = None) -> Entry:
        """The latest version of an agent, or the one asked for."""

    async def versions(self, name: str) -> list[Entry]:
        """All versions of an agent, highest first."""

    async def set_latest(self, name: str, version: str) -> Entry:
        """Make a version the latest."""

    async def delete(self, name: str, version: str | None = None) -> None:
        """Delete one version, or the agent with all its versions."""

    async def search(self, **criteria: Unpack[Criteria]) -> Page:
        """The entries for which all of the criteria hold, best first."""

    async def rollout(self, name: str) -> Rollout:
        """The rollout table of an agent."""

    async def set_rollout(self, rollout: Rollout, expected_revision: int) -> Rollout:
        """Set the rollout table of an agent, when it still has the revision expected."""

    def watch_rollouts(self, name: str) -> AsyncGenerator[Rollout, None]:
        """The rollout table of an agent now, then each new one."""

    def watch(self, *, after: int | None = None) -> AsyncGenerator[Change, None]:
        """Changes as they happen, in all namespaces that the registry serves."""
