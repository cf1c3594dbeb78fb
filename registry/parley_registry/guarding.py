"""Prompts and MCP servers as callers may change them: with a right to the name, and as its owner."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from parley_registry.backends.sql.things import SqlThings
from parley_registry.entry import Agent
from parley_registry.mcp.library import McpLibrary, McpRecord
from parley_registry.mcp.server import McpKey, McpRegistered, McpServer
from parley_registry.prompts.library import PromptLibrary
from parley_registry.prompts.prompt import AgentVersion, Prompt, PromptKey, PromptVersion, Pushed
from parley_registry.prompts.record import PromptRecord
from parley_registry.warden import Warden


class Guard:
    """What both have in common."""

    def __init__(self, kind: str, warden: Warden, things: SqlThings) -> None:
        self._kind = kind
        self._warden = warden
        self._things = things

    @asynccontextmanager
    async def change(
        self, key: PromptKey | McpKey, detail: str, version: str = "", *, gone: bool = False
    ) -> AsyncIterator[None]:
        """Let the caller make a change in the block, and note it when it is made; `gone` if nothing is left then.

        Raises NotPermitted, NotOwner.
        """
        thing = Agent(key.namespace, key.name)
        async with self._warden.change(self._kind, thing, version) as actor:
            new = await self._things.take(thing, actor)
            try:
                yield
            except BaseException:
                if new:
                    await self._things.give_up(thing)
                raise
            if gone:
                await self._things.give_up(thing)
            await self._things.note(thing, version, actor, detail)


class GuardedPrompts(PromptLibrary):
    """A library that asks its guard before each change."""

    def __init__(self, record: PromptRecord, warden: Warden, things: SqlThings) -> None:
        super().__init__(record)
        self._guard = Guard("prompt", warden, things)

    async def push(self, version: PromptVersion, labels: Sequence[str] = ()) -> Pushed:
        """See `PromptSource.push`."""
        key = PromptKey(version.namespace, version.name)
        pointing = f" as {', '.join(labels)}" if labels else ""
        async with self._guard.change(key, f"pushed{pointing}", version.version):
            return await super().push(version, labels)

    async def label(self, key: PromptKey, label: str, version: str) -> Prompt:
        """See `PromptSource.label`."""
        await self.get(key)
        async with self._guard.change(key, f"label {label}", version):
            return await super().label(key, label, version)

    async def unlabel(self, key: PromptKey, label: str) -> Prompt:
        """See `PromptSource.unlabel`."""
        await self.get(key)
        async with self._guard.change(key, f"label {label} taken away"):
            return await super().unlabel(key, label)

    async def bind(self, key: PromptKey, agent: AgentVersion, version: str) -> Prompt:
        """See `PromptSource.bind`."""
        await self.get(key)
        async with self._guard.change(key, f"for {agent}", version):
            return await super().bind(key, agent, version)

    async def unbind(self, key: PromptKey, agent: AgentVersion) -> Prompt:
        """See `PromptSource.unbind`."""
        await self.get(key)
        async with self._guard.change(key, f"for {agent} taken away"):
            return await super().unbind(key, agent)

    async def delete(self, key: PromptKey, version: str | None = None) -> None:
        """See `PromptSource.delete`."""
        kept = {note.version for note in (await self.get(key)).versions} - {version}
        gone = version is None or not kept
        async with self._guard.change(key, "deleted", version or "", gone=gone):
            await super().delete(key, version)


class GuardedMcpServers(McpLibrary):
    """The same for MCP servers."""

    def __init__(self, record: McpRecord, warden: Warden, things: SqlThings) -> None:
        super().__init__(record)
        self._guard = Guard("mcp", warden, things)

    async def register(self, server: McpServer) -> McpRegistered:
        """See `McpLibrary.register`."""
        async with self._guard.change(server.key, "registered", server.version):
            return await super().register(server)

    async def delete(self, key: McpKey, version: str | None = None) -> None:
        """See `McpLibrary.delete`."""
        kept = {one.version for one in await self.versions(key)} - {version}
        gone = version is None or not kept
        async with self._guard.change(key, "deleted", version or "", gone=gone):
            await super().delete(key, version)
