"""Rollout tables, from the registry service."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from parley_registry.calls import Calls
from parley_registry.reconnecting import reconnecting
from parley_registry.rollout import Rollout, content_json, rollout_from


class HttpRollouts:
    """The rollout tables of one namespace."""

    def __init__(self, calls: Calls, namespace: str) -> None:
        self._calls = calls
        self._namespace = namespace

    async def get(self, name: str) -> Rollout:
        """See `client.RegistryClient.rollout`."""
        return await self._calls.ask(_rollout, "GET", _path(name), query=self._here)

    async def set(self, rollout: Rollout, expected_revision: int) -> Rollout:
        """See `client.RegistryClient.set_rollout`."""
        body = content_json(rollout) | {"expected": expected_revision}
        return await self._calls.ask(_rollout, "PUT", _path(rollout.name), body, self._here)

    async def watch(self, name: str) -> AsyncGenerator[Rollout, None]:
        """See `client.RegistryClient.watch_rollouts`."""
        known: Rollout | None = None
        # Whatever is missed between two connections shows in the table read at the start of the second.
        async with aclosing(reconnecting(lambda: self._tables(name))) as tables:
            async for now in tables:
                if now != known:
                    known = now
                    yield now

    async def _tables(self, name: str) -> AsyncGenerator[Rollout, None]:
        """The table at the start of a connection and after each change, until it breaks off."""
        wanted = {"kind": "rollout", "name": name, "namespace": self._namespace}
        async with aclosing(self._calls.changes(None, wanted)) as changes:
            async for _ in changes:
                yield await self.get(name)

    @property
    def _here(self) -> dict[str, str]:
        return {"namespace": self._namespace}


def _path(name: str) -> str:
    return f"/v1/agents/{quote(name, safe='')}/rollout"


def _rollout(told: Mapping[str, Any]) -> Rollout:
    return rollout_from(told["namespace"], told["name"], told, told["revision"])
