"""What the registry has of the agents: rollout tables and published versions, kept while they are surely fresh."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from parley_core.bearer import Bearer
from parley_core.errors import ParleyError
from parley_operator.kube.backoff import Backoff
from parley_operator.metrics import REGISTRY_UP
from parley_operator.newcomers import Newcomers
from parley_registry.client import (
    Entry,
    Registry,
    RegistryUnavailable,
    Rollout,
    UnknownAgent,
    catalogue,
    connect,
    in_namespace,
)

_log = logging.getLogger(__name__)

_WATCHED = 10.0
"""Seconds after which an agent is asked about again while the registry tells of changes."""
_UNWATCHED = 3.0
"""The same while it does not (a Nacos without a catalogue)."""


class Name(NamedTuple):
    """An agent in the registry."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What the registry has of one agent; `entries` has its versions, highest first."""

    table: Rollout
    entries: tuple[Entry, ...]
    read: float

    @property
    def latest(self) -> str:
        """Which version is the latest; "" of none."""
        return next((one.version for one in self.entries if one.latest), "")


class Tables:
    """One registry, all of its namespaces. `changed` is told of each agent of which something changed there."""

    def __init__(self, url: str, token: Bearer | None, changed: Callable[[Name], None]) -> None:
        self._url = url
        self._token = token
        self._changed = changed
        self._clients: dict[str, Registry] = {}
        self._kept: dict[Name, Kept] = {}
        self._locks: defaultdict[Name, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._doubt: defaultdict[Name, int] = defaultdict(int)
        self._watched = False
        self._newcomers = Newcomers(self.at)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Tables"]:
        """Let go of the connections at the end."""
        try:
            yield self
        finally:
            for client in self._clients.values():
                await client.aclose()
            self._clients.clear()

    def at(self, namespace: str) -> Registry:
        """The registry's client for one of its namespaces."""
        if namespace not in self._clients:
            self._clients[namespace] = connect(in_namespace(self._url, namespace), token=self._token)
        return self._clients[namespace]

    async def register(self, of: Name, url: str) -> None:
        """Register an agent that runs elsewhere by its card's URL, under this name and no other. Raises RegistryUnavailable,
        RegistryError."""
        async with catalogue(in_namespace(self._url, of.namespace), token=self._token) as client:
            await client.register_url(url, name=of.name)

    async def read(self, of: Name, *, new: bool = False) -> Kept:
        """What there is of the agent. Of one that is `new`, and has published nothing yet, that may be a little old. Raises
        RegistryUnavailable, RegistryError."""
        async with self._locks[of]:
            kept = self._kept.get(of)
            now = asyncio.get_running_loop().time()
            if kept is not None and now - kept.read < (_WATCHED if self._watched else _UNWATCHED):
                return kept
            doubt, client = self._doubt[of], self.at(of.namespace)
            if new and await self._newcomers.has(*of):
                REGISTRY_UP.set(1)
                return Kept(Rollout(*of), (), now)
            try:
                try:
                    entries = tuple(await client.versions(of.name))
                    table = await client.rollout(of.name)
                except UnknownAgent:
                    # Without a version there is no table either: it could name none.
                    entries, table = (), Rollout(of.namespace, of.name)
            except RegistryUnavailable:
                REGISTRY_UP.set(0)
                raise
            REGISTRY_UP.set(1)
            kept = Kept(table, entries, now)
            if self._doubt[of] == doubt:  # else it changed while it was read
                self._kept[of] = kept
            return kept

    def forget(self, of: Name) -> None:
        """Have it asked anew the next time: it was changed, by us or others."""
        self._kept.pop(of, None)
        if of in self._doubt:
            self._doubt[of] += 1

    async def drop(self, of: Name) -> None:
        """Nobody will ask about the agent any more. The client of a namespace goes with the last agent there."""
        self._kept.pop(of, None)
        self._doubt.pop(of, None)
        self._locks.pop(of, None)
        if of.namespace in self._clients and all(one.namespace != of.namespace for one in self._locks):
            await self._clients.pop(of.namespace).aclose()

    async def run(self) -> None:
        """Follow what changes in the registry, until cancelled."""
        backoff = Backoff(0.5, 15.0)
        said = ""
        while True:
            try:
                watching = self.at("")
                # It begins with what happens from now on: what was kept before may be old already.
                self._kept.clear()
                self._newcomers.clear()
                async with aclosing(watching.watch()) as changes:
                    self._watched = True
                    async for change in changes:
                        backoff.reset()
                        said = ""
                        if change.kind == "reset":
                            self._kept.clear()
                            self._newcomers.clear()
                        elif change.kind not in ("prompt", "mcp"):
                            name = Name(change.namespace, change.name)
                            self.forget(name)
                            self._newcomers.heard_of(*name)
                            self._changed(name)
            except ParleyError as error:  # its token's file may be missing, too
                if said != str(error):
                    _log.warning("the registry tells of no changes, it is asked every few seconds: %s", error)
                    said = str(error)
            finally:
                self._watched = False
            await asyncio.sleep(backoff.next())
