"""The versions of one agent, as its registry and its hosts tell of them."""

import asyncio
from collections.abc import Callable, Mapping

import httpx

from parley_core.errors import ParleyError, Unavailable
from parley_registry.client import (
    Registry,
    RegistryUnavailable,
    Rollout,
    RolloutConflict,
    VersionFigures,
    figures_from,
)

_DEADLINE = 5.0
_AGAIN = 0.5
_TRIES = 10


class NoFigures(ParleyError):
    """None of an agent's hosts told how its versions do."""


class Fleet:
    """Calls about the agent `name`. They raise what `RegistryClient` says."""

    def __init__(self, registry: Registry, http: httpx.AsyncClient, name: str) -> None:
        self.name = name
        self._registry = registry
        self._http = http

    async def versions(self) -> list[str]:
        """All published versions, highest first."""
        return [entry.version for entry in await self._registry.versions(self.name)]

    async def table(self) -> Rollout:
        """The rollout table."""
        return await self._registry.rollout(self.name)

    async def change(self, step: Callable[[Rollout], Rollout]) -> Rollout:
        """Replace the table by what `step` makes of it, which is called again when somebody else was quicker."""
        for _ in range(_TRIES):
            table = await self.table()
            try:
                return await self._registry.set_rollout(step(table), table.revision)
            except RolloutConflict:
                await asyncio.sleep(_AGAIN / _TRIES)
        raise RolloutConflict(f"the rollout table of {self.name} is changed by others all the time")

    async def change_surely(self, step: Callable[[Rollout], Rollout], say: Callable[[str], None]) -> Rollout:
        """`change`, however long the registry is away."""
        said = False
        while True:
            try:
                return await self.change(step)
            except RegistryUnavailable as error:
                if not said:
                    say(f"waiting for the registry: {error}")
                said = True
            await asyncio.sleep(_AGAIN)

    async def figures(self, since: float) -> Mapping[str, VersionFigures]:
        """How each version did in the last `since` seconds, by any host that answers: they share a store. Raises NoFigures."""
        reasons = []
        for entry in await self._registry.versions(self.name):
            for instance in entry.instances:
                base = instance.url.partition("/a2a/")[0]
                try:
                    answer = await self._http.get(
                        f"{base}/parley/v1/versions", params={"since": since}, timeout=_DEADLINE
                    )
                    told = answer.raise_for_status().json()["versions"]
                    return {one.version: one for one in map(figures_from, told)}
                except (httpx.HTTPError, Unavailable, ValueError, KeyError, TypeError) as error:
                    reasons.append(f"{base}: {error or type(error).__name__}")
        why = f" ({reasons[0]})" if reasons else ": none is in the registry"
        raise NoFigures(f"no host of {self.name} says how its versions do{why}")
