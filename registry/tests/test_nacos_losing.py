"""Prompts and MCP servers that vanish together from Nacos, which is a fake here: what is kept of them, and for how long."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from parley_registry.backends.sql import SqlRecord
from parley_registry.mcp.check import check_server
from parley_registry.mcp.mirror import MirroredMcpServers
from parley_registry.mcp.record import SqlMcpServers
from parley_registry.mcp.server import McpKey, McpServer
from parley_registry.prompts.prompt import Prompt, PromptKey, VersionNote
from parley_registry.prompts.records import mirrored
from parley_registry.prompts.records.sql import SqlPrompts


@pytest.fixture
async def record(tmp_path: Path) -> AsyncIterator[SqlRecord]:
    opened = SqlRecord(f"sqlite:///{tmp_path}/copy.db")
    await opened.open()
    yield opened
    await opened.close()


class FakeLosingMcp:
    """The MCP registry of a Nacos that can lose everything."""

    def __init__(self) -> None:
        self.kept = ["a", "b", "c"]

    async def names(self, namespace: str) -> dict[str, Sequence[str]]:
        return {name: ["1.0.0"] for name in self.kept}

    async def get(self, key: McpKey, version: str, *, now: float) -> McpServer:
        told = {
            "namespace": key.namespace,
            "name": key.name,
            "version": version,
            "description": "a server",
            "protocol": "streamable-http",
            "endpoints": ["https://weather.example.com/mcp"],
            "tools": [],
        }
        return replace(check_server(told, now=now, source="nacos"), latest=True)


async def test_mcp_servers_that_vanish_together_are_kept(record: SqlRecord) -> None:
    nacos = FakeLosingMcp()
    servers = MirroredMcpServers(nacos, SqlMcpServers(record.database), ["team"], lambda: None)  # type: ignore[arg-type]

    async def shown() -> list[str]:
        await servers.look("team")
        return [one.name for one in await servers.page("team", (), None, 10)]

    assert await shown() == ["a", "b", "c"]
    nacos.kept = ["b", "c"]
    assert await shown() == ["b", "c"], "one was deleted"
    nacos.kept = []
    assert await shown() == ["b", "c"], "two are missing at once"
    nacos.kept = ["b", "c", "d"]
    assert await shown() == ["b", "c", "d"]


class FakeLosingPrompts:
    """The prompts of a Nacos that can lose everything."""

    def __init__(self, _: object) -> None:
        self.kept = ["a", "b", "c"]

    async def names(self, namespace: str) -> list[str]:
        return self.kept

    async def load(self, key: PromptKey) -> Prompt | None:
        return Prompt(*key) if key.name in self.kept else None

    async def read(self, key: PromptKey, note: VersionNote) -> None:
        raise AssertionError("there are no versions")


async def test_prompts_that_vanish_together_are_kept(
    record: SqlRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrored, "NacosEitherPrompts", FakeLosingPrompts)
    prompts = mirrored.MirroredPrompts(None, SqlPrompts(record.database), ["team"], lambda: None)  # type: ignore[arg-type]

    async def shown() -> list[str]:
        for name in ("a", "b", "c"):
            await prompts._bring(PromptKey("team", name))
        return [one.name for one in await prompts.page("team", (), None, 10)]

    assert await shown() == ["a", "b", "c"]
    prompts._source.kept = ["b", "c"]  # type: ignore[attr-defined]
    assert await shown() == ["b", "c"]
    prompts._source.kept = []  # type: ignore[attr-defined]
    assert await shown() == ["b", "c"]
