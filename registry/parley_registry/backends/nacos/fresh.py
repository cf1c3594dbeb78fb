"""How fresh the copy of Nacos is, and what an operator is told of that in the log."""

import logging
import time
from collections.abc import Collection

from parley_core.errors import ParleyError
from parley_registry.backends.nacos.following import Following
from parley_registry.backends.sql.mirror import SqlMirror
from parley_registry.nacos.connection import NacosConnection
from parley_registry.record import Freshness

_logger = logging.getLogger(__name__)


class Fresh:
    """Of the copies of several namespaces. `note` what is known now, again and again."""

    def __init__(
        self,
        connection: NacosConnection,
        copy: SqlMirror,
        followed: Collection[Following],
        *,
        stale_after: float,
    ) -> None:
        self._connection = connection
        self._copy = copy
        self._followed = followed
        self._stale_after = stale_after
        self._synced = {one.namespace: 0.0 for one in followed}
        self._away_since: float | None = None
        self._began = time.monotonic()
        self._told = False

    async def open(self) -> None:
        """Read what was noted before, by any process, and say what is served until Nacos is looked at."""
        for namespace in self._synced:
            self._synced[namespace] = await self._copy.synced(namespace)
        _logger.info(
            "following %s; %s in the copy from before", self._connection.address, await self._counted()
        )

    def now(self) -> Freshness:
        """See `Record.freshness`; its age is infinite while the two were never the same."""
        since = min(self._synced.values())
        age = max(time.time() - since, 0.0) if since else float("inf")
        missing = next((one.missing for one in self._followed if one.missing), "")
        if age <= self._stale_after and not missing:
            return Freshness(age, False, "")
        problem = "" if self._connection.live else str(self._connection.problem)
        reasons = (problem, missing, *(one.why for one in self._followed))
        return Freshness(age, True, next(filter(None, reasons), "Nacos is being looked through"))

    async def note(self) -> None:
        """Note how fresh it is, and log what has become of Nacos."""
        for one in self._followed:
            behind = one.behind_since if self._connection.live else None
            try:
                if behind is not None:
                    await self._copy.set_synced(one.namespace, time.time() - (time.monotonic() - behind))
                # Another process may be in step while this one is not.
                self._synced[one.namespace] = await self._copy.synced(one.namespace)
            except ParleyError as error:
                _logger.warning("how fresh the copy of %s is cannot be noted: %s", one.namespace, error)
        await self._tell()

    async def _tell(self) -> None:
        now = time.monotonic()
        if not self._connection.live and self._away_since is None:
            if self._told or now - self._began > self._stale_after:
                self._away_since = now
                _logger.warning(
                    "Nacos is away: %s; %s in the copy are served, as stale after %g s, and changes are refused",
                    self._connection.problem,
                    await self._counted(),
                    self._stale_after,
                )
        elif self._connection.live and self._away_since is not None:
            _logger.info("Nacos is back after %.0f s", now - self._away_since)
            self._away_since = None
        if not self._told and all(one.looked and not one.busy for one in self._followed):
            self._told = True
            _logger.info("all of Nacos was looked at once: %s", await self._counted())

    async def _counted(self) -> str:
        try:
            found = await self._copy.agents()
        except ParleyError as error:
            return f"agents that cannot be counted ({error})"
        here = [agent.namespace for agent in found]
        counts = [(one.namespace, here.count(one.namespace)) for one in self._followed]
        return ", ".join(f"{count} agents of {namespace}" for namespace, count in counts)
