"""One Nacos cluster with all that is spoken to it: HTTP, one gRPC connection, instances, configs, agents."""

from types import TracebackType
from typing import Self

from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.agents import Agents
from parley_registry.nacos.config import Configs
from parley_registry.nacos.connection import NacosConnection
from parley_registry.nacos.http import NacosHttp
from parley_registry.nacos.lock import Locks
from parley_registry.nacos.naming import Naming
from parley_registry.nacos.rollouts import NacosRollouts


class Nacos:
    """Connects in the background once `open`ed, and again whenever that is needed. `aclose` it, or use `async with`."""

    def __init__(self, address: NacosAddress, *, timeout: float = 10.0) -> None:
        self.address = address
        self.http = NacosHttp(address, timeout=timeout)
        self.connection = NacosConnection(self.http)
        self.naming = Naming(self.connection)
        self.configs = Configs(self.connection)
        self.agents = Agents(self.http, self.configs, Locks(self.connection))
        self.rollouts = NacosRollouts(self.configs)
        self._opened = False

    def open(self) -> None:
        """Begin to connect; calls wait for that within their deadlines. Opening twice is opening once."""
        if not self._opened:
            self._opened = True
            self.naming.start()
            self.configs.start()
            self.connection.open()

    async def aclose(self) -> None:
        """End all of it; own instances are gone at once."""
        await self.naming.close()
        await self.configs.close()
        await self.connection.close()
        await self.http.aclose()

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
