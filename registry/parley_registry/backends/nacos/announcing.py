"""Instances of hosts that speak to this registry only: announced in Nacos by this process for as long as they beat."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from parley_core.errors import ParleyError
from parley_registry.entry import Agent, Instance, Key
from parley_registry.errors import RegistryUnavailable
from parley_registry.nacos.layout import endpoint_of, instance_of, service_of
from parley_registry.nacos.naming import Endpoint
from parley_registry.nacos.server import Nacos

_logger = logging.getLogger(__name__)

_SHOWN_WITHIN = 5.0
"""Seconds within which Nacos shows what was registered; usually 0.5."""
_PAUSE = 0.1


@dataclass(slots=True)
class _Announced:
    endpoint: Endpoint
    seen: float
    lost: bool = False
    """Whether its version is not in Nacos any more."""

    @property
    def address(self) -> tuple[str, int]:
        return self.endpoint.host, self.endpoint.port


class Announced:
    """The instances that this process speaks for. Nacos shows what was done when a call returns, so that no process that
    reads it then undoes that in the copy."""

    def __init__(self, nacos: Nacos) -> None:
        self._nacos = nacos
        self._alive: dict[Key, dict[str, _Announced]] = {}
        self._keys: defaultdict[Agent, set[Key]] = defaultdict(set)

    async def announce(self, key: Key, instance: Instance, interfaces: bytes) -> None:
        """Announce an instance. Raises RegistryUnavailable, NotAllowed, BadRequest."""
        endpoint, before = endpoint_of(instance, interfaces), self._alive.get(key, {}).get(instance.id)
        if before is not None and before.endpoint == endpoint:
            before.seen, before.lost = time.monotonic(), False
            return
        await self._nacos.naming.register(service_of(*key), endpoint)
        now = self._alive.setdefault(key, {})[instance.id] = _Announced(endpoint, time.monotonic())
        self._keys[key.agent].add(key)
        if before is not None and before.address != now.address:
            await self._leave(key, before)
        if not await self._until(key, lambda shown: shown.get(instance.id) == endpoint.metadata):
            raise RegistryUnavailable(
                f"Nacos took the instance {instance.id} but does not show it; try again"
            )

    def beat(self, key: Key, instance_id: str) -> bool | None:
        """Note that an instance lives. False when its version has to be published again, None when this process does not
        speak for it."""
        found = self._alive.get(key, {}).get(instance_id)
        if found is None:
            return None
        if not found.lost:
            found.seen = time.monotonic()
        return not found.lost

    def published(self, agent: Agent, versions: Collection[str]) -> None:
        """Nacos has these versions of an agent: hosts of others are told to publish them again when they beat."""
        for key in self._keys.get(agent, ()):
            for one in self._alive[key].values():
                one.lost = key.version not in versions

    async def withdraw(self, key: Key, instance_id: str) -> bool:
        """Take an instance away; whether this process spoke for it."""
        found = self._alive.get(key, {}).pop(instance_id, None)
        if found is None:
            return False
        if not self._alive[key]:
            del self._alive[key]
            self._keys[key.agent].discard(key)
            if not self._keys[key.agent]:
                del self._keys[key.agent]
        try:
            await self._leave(key, found)
            await self._until(key, lambda shown: instance_id not in shown)
        except ParleyError as error:
            _logger.debug("%s is taken out of Nacos later: %s", instance_id, error)
        return True

    async def forget(self, key: Key) -> None:
        """Take all instances of a version away that is gone."""
        for id_ in list(self._alive.get(key, ())):
            await self.withdraw(key, id_)

    async def expire(self, seconds: float) -> set[Key]:
        """Take away those that were not seen for so long; which versions they were of."""
        since = time.monotonic() - seconds
        gone = [
            (key, id_) for key, alive in self._alive.items() for id_, one in alive.items() if one.seen < since
        ]
        done = await asyncio.gather(*(self.withdraw(*one) for one in gone))
        return {key for (key, _), withdrawn in zip(gone, done, strict=True) if withdrawn}

    async def _leave(self, key: Key, gone: _Announced) -> None:
        """Take an instance's address away, unless another one stands there: Nacos holds one for each address, and a host
        that was killed and came back, or two behind one balancer, share theirs."""
        others = self._alive.get(key, {}).values()
        left = [one.endpoint for one in others if one.address == gone.address]
        if left:
            await self._nacos.naming.register(service_of(*key), left[-1])
        else:
            await self._nacos.naming.deregister(service_of(*key), *gone.address)

    async def _until(self, key: Key, is_so: Callable[[dict[str, Mapping[str, str]]], bool]) -> bool:
        """Wait until what Nacos shows of a version, its instances' metadata by id, is so; False when that takes too long."""
        until = time.monotonic() + _SHOWN_WITHIN
        while time.monotonic() < until:
            found = await self._nacos.naming.instances(service_of(*key))
            if is_so({instance_of(one).id: one.metadata for one in found if one.healthy}):
                return True
            await asyncio.sleep(_PAUSE)
        return False
