"""The instances that this process announced, and whether they are really there."""

import time
from collections.abc import Callable

from parley_registry.entry import Instance, Key
from parley_registry.errors import UnknownInstance
from parley_registry.nacos.config import Config, ConfigKey
from parley_registry.nacos.layout import AGENTS, agent_id, endpoint_of, instance_of, nacos_name, service_of
from parley_registry.nacos.naming import Endpoint
from parley_registry.nacos.server import Nacos

_GRACE = 3.0
"""Seconds that Nacos may take to show an instance, after it was registered or the connection began anew."""


class Presence:
    """One announced instance: registered for as long as it is not closed, and watched."""

    def __init__(self, nacos: Nacos, key: Key, instance: Instance, interfaces: bytes) -> None:
        self._nacos = nacos
        self._key = key
        self._instance = instance
        self._service = service_of(*key)
        self._endpoint = endpoint_of(instance, interfaces)
        self._missing_since: float | None = time.monotonic()
        self._card_changed = False
        self._closers: list[Callable[[], None]] = []

    async def open(self) -> None:
        """Register it. Raises RegistryUnavailable, NotAllowed, BadRequest."""
        await self._nacos.naming.register(self._service, self._endpoint)
        subscription = self._nacos.naming.subscribe(self._service, self._seen)
        config = ConfigKey(self._key.namespace, AGENTS, agent_id(nacos_name(self._key.name)))
        listener = self._nacos.configs.listen(config, self._changed)
        self._closers = [subscription.close, listener.close]

    async def close(self, replaced_by: "Presence | None" = None) -> None:
        """Take it away, unless the one that replaces it stands at the same address.

        Raises RegistryUnavailable; then it is gone when the connection is closed.
        """
        for close in self._closers:
            close()
        if replaced_by is None or replaced_by._address != self._address:
            await self._nacos.naming.deregister(self._service, *self._address)

    @property
    def _address(self) -> tuple[str, int]:
        return self._endpoint.host, self._endpoint.port

    async def check(self) -> None:
        """Return when it is there. Raises UnknownInstance when it, or its version, is not; RegistryUnavailable."""
        if not self._nacos.connection.live:
            self._missing_since = time.monotonic()
            raise self._nacos.connection.problem
        if self._missing_since is not None and time.monotonic() - self._missing_since > _GRACE:
            raise UnknownInstance(
                f"Nacos does not show the instance {self._instance.id} of {self._key.name}; publish again"
            )
        if self._card_changed:
            self._card_changed = False
            if await self._nacos.agents.get(*self._key) is None:
                raise UnknownInstance(
                    f"{self._key.name} {self._key.version} was deleted from Nacos; publish again"
                )

    def _seen(self, endpoints: tuple[Endpoint, ...]) -> None:
        if any(instance_of(one).id == self._instance.id for one in endpoints):
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = time.monotonic()

    def _changed(self, _: Config | None) -> None:
        self._card_changed = True
