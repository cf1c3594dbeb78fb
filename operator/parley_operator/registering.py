"""What a plan has the registry told: rollout tables, cards of agents that run elsewhere, versions that are gone."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parley_operator.decision import Plan
from parley_operator.degraded import Problem
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


class Registering:
    """Writes to the registry."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

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

    async def after(self, of: Name, plan: Plan) -> Problem | None:
        """What comes after: the latest version, versions and agents that are gone. What was refused, in words. Raises
        RegistryUnavailable, unless the Agent goes anyway."""
        refused = None
        try:
            if plan.latest:
                async with self._changing(of) as client:
                    try:
                        await client.set_latest(of.name, plan.latest)
                    except RegistryError as error:
                        refused = _problem("LatestRefused", error)
            for version in plan.unpublish:
                await self._remove(of, version)
            if plan.withdraw:
                await self._remove(of, None)
        except RegistryUnavailable as error:
            if not plan.finalize:
                raise
            _log.warning("%s stays in the registry, which cannot be told that it is gone: %s", of.name, error)
        return refused

    async def _remove(self, of: Name, version: str | None) -> None:
        async with self._changing(of) as client:
            try:
                await client.delete(of.name, version)
                WRITES.labels("Card", "withdrawn").inc()
            except (VersionInUse, LatestInUse) as error:
                _log.info("%s %s stays in the registry for now: %s", of.name, version, error)
            except UnknownAgent:
                pass  # as is wanted
            except RegistryError as error:
                _log.warning("%s stays in the registry: %s", of.name, error)

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
