"""The publisher: makes the registry know of this agent while the host runs, and forget it at a clean stop."""

import asyncio
import logging

from a2a.types import a2a_pb2 as pb

from parley_core.errors import ParleyError
from parley_registry.client import Instance, Registry

log = logging.getLogger(__name__)

_BEAT = 2.0
_RETRY = (0.2, 0.5, 1.0, 2.0, 5.0)
_DEADLINE = 5.0


class Publisher:
    """Publishes `card` with this instance, beats while it runs, publishes again after the registry was away."""

    def __init__(self, registry: Registry, card: pb.AgentCard, instance: Instance) -> None:
        self._registry = registry
        self._card = card
        self._instance = instance
        self._failures = 0
        self._renewed = False
        self._leaving = False
        self._calling = asyncio.Lock()
        self.published = asyncio.Event()
        """Set while the registry is known to have this instance."""

    async def run(self) -> None:
        """Publish and beat until cancelled. A registry that is away or refuses is said once and tried again."""
        while not self._leaving:
            try:
                async with self._calling:
                    await self._tell()
                self._failures = 0
                await asyncio.sleep(_BEAT)
            except ParleyError as error:
                self.published.clear()
                if self._failures == 0:
                    log.warning("the registry did not take %s: %s", self._card.name, error)
                self._failures += 1
                await asyncio.sleep(_RETRY[min(self._failures, len(_RETRY)) - 1])

    def renew(self) -> None:
        """Publish the card again with the next beat: it was signed anew."""
        self._renewed = True

    async def _tell(self) -> None:
        if self._leaving:
            return
        if self.published.is_set() and not self._renewed:
            await self._registry.heartbeat(self._card.name, self._card.version, self._instance.id)
        else:
            self._renewed = False
            entry = await self._registry.publish(self._card, instance=self._instance)
            log.info("published %s %s to the registry", entry.name, entry.version)
            self.published.set()

    async def withdraw(self) -> None:
        """Tell the registry that this instance is gone, and nothing after that; a registry that does not answer
        will find out by itself."""
        self._leaving = True
        try:
            async with asyncio.timeout(_DEADLINE), self._calling:
                if not self.published.is_set():
                    return
                await self._registry.withdraw(self._card.name, self._card.version, self._instance.id)
        except (ParleyError, TimeoutError) as error:
            log.warning("could not withdraw %s from the registry: %s", self._card.name, error)
