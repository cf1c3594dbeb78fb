"""What a plan has the registry told: rollout tables, cards of agents that run elsewhere, versions that are gone."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parley_operator.decision import Event, Plan
from parley_operator.degraded import Problem
from parley_operator.kube.backoff import Backoff
from parley_operator.metrics import WRITES
from parley_operator.tables import Name, Tables
from parley_registry.client import (
    LatestInUse,
    NameDiffers,
    NotOwner,
    NotPermitted,
    Registry,
    RegistryBusy,
    RegistryError,
    RegistryUnavailable,
    RolloutConflict,
    UnknownAgent,
    VersionConflict,
    VersionInUse,
)

_log = logging.getLogger(__name__)


class Moved(Exception):
    """Somebody else changed the rollout table since it was read."""


class _Stays:
    """A deletion that the registry refuses: tried again ever more seldom, told once for each cause."""

    def __init__(self) -> None:
        self.until = 0.0
        self._backoff = Backoff(5.0, 300.0)
        self._said = ""

    def refused(self, now: float, error: RegistryError, what: str) -> list[Event]:
        """It was refused at `now`."""
        in_use = isinstance(error, VersionInUse | LatestInUse)  # its hosts are forgotten within seconds
        self.until = now + (4.0 if in_use else self._backoff.next())
        said, self._said = self._said, str(error)
        if said == self._said:
            return []
        _log.log(logging.INFO if in_use else logging.WARNING, "%s stays in the registry: %s", what, error)
        return (
            []
            if in_use
            else [Event("Warning", "NotWithdrawn", f"{what} stays in the registry: {error}"[:1000])]
        )


class Registering:
    """Writes to the registry."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._stays: dict[tuple[Name, str | None], _Stays] = {}
        """What the registry would not delete."""

    async def before(self, of: Name, plan: Plan) -> Problem | None:
        """What comes before the status: cards and the table. What was refused, in words. Raises Moved,
        RegistryUnavailable."""
        refused = None
        if plan.register:
            try:
                await self._tables.register(of, plan.register)
                WRITES.labels("Card", "registered").inc()
            except NameDiffers as error:
                said = f"{error}; give the Agent the card's name. Nothing was registered"
                refused = Problem("NameDiffers", said[:1000], accepted=False)
            except (NotOwner, NotPermitted, VersionConflict) as error:
                refused = Problem("NameTaken", str(error)[:1000], accepted=False)
            except RegistryError as error:
                refused = _problem("CardRefused", error)
            self._tables.forget(of)
        if plan.table is not None:
            async with self._changing(Name(plan.table.namespace, plan.table.name)) as client:
                try:
                    await client.set_rollout(plan.table, plan.table.revision)
                    WRITES.labels("Rollout", "set").inc()
                except RolloutConflict as error:
                    raise Moved from error
                except RegistryError as error:
                    refused = _problem("RolloutRefused", error)
        return refused

    async def after(self, of: Name, plan: Plan) -> tuple[Problem | None, list[Event]]:
        """What comes after: the latest version, versions and agents that are gone. What was refused, in words, and what is to be
        told of it. Raises RegistryUnavailable, unless the Agent goes anyway."""
        refused = None
        events: list[Event] = []
        going = (*plan.unpublish, *([None] if plan.withdraw else []))
        for known in [one for one in self._stays if one[0] == of and one[1] not in going]:
            del self._stays[known]
        try:
            if plan.latest:
                async with self._changing(of) as client:
                    try:
                        await client.set_latest(of.name, plan.latest)
                    except RegistryError as error:
                        refused = _problem("LatestRefused", error)
            for version in going:
                events += await self._remove(of, version)
        except RegistryUnavailable as error:
            if not plan.finalize:
                raise
            _log.warning("%s stays in the registry, which cannot be told that it is gone: %s", of.name, error)
        return refused, events

    async def _remove(self, of: Name, version: str | None) -> list[Event]:
        """Have a version (None: all) deleted, unless that was refused a moment ago. What is to be told of it: each cause once."""
        now = asyncio.get_running_loop().time()
        stays = self._stays.get((of, version))
        if stays is not None and now < stays.until:
            return []
        async with self._changing(of) as client:
            try:
                await client.delete(of.name, version)
                WRITES.labels("Card", "withdrawn").inc()
            except UnknownAgent:
                pass  # as is wanted
            except RegistryBusy:
                raise
            except RegistryError as error:
                stays = stays or _Stays()
                self._stays[of, version] = stays
                return stays.refused(now, error, f"{of.name} {version or ''}".strip())
        self._stays.pop((of, version), None)
        return []

    @asynccontextmanager
    async def _changing(self, of: Name) -> AsyncIterator[Registry]:
        try:
            yield self._tables.at(of.namespace)
        except RegistryBusy as error:
            raise RegistryUnavailable(str(error)) from error
        finally:
            self._tables.forget(of)


def _problem(reason: str, error: RegistryError) -> Problem:
    if isinstance(error, RegistryBusy):
        raise RegistryUnavailable(str(error)) from error
    return Problem(reason, str(error)[:1000])
