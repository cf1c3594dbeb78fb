"""A way to a Nacos that can be cut: HTTP and gRPC together, as a network would."""

from engines.links import Condition, Link
from engines.nacos import Nacos
from engines.ports import free_port

_GRPC = 1000


class NacosLink:
    """Two links of one condition, at a port and the port 1000 above it, where clients of Nacos look for gRPC."""

    def __init__(self, server: Nacos, *, delay: float = 0.15) -> None:
        self._server = server
        self.port = free_port(also=[_GRPC])
        self._links = [
            Link(lambda: ("127.0.0.1", server.port), port=self.port, delay=delay),
            Link(lambda: ("127.0.0.1", server.port + _GRPC), port=self.port + _GRPC, delay=delay),
        ]

    def address(self, namespace: str = "public") -> str:
        """The `nacos://…` of the server, by way of these links."""
        return self._server.address(namespace).replace(f":{self._server.port}/", f":{self.port}/")

    async def start(self) -> None:
        """Listen."""
        for link in self._links:
            await link.start()

    async def set(self, condition: Condition) -> None:
        """`whole`, `cut`, `black` or `slow`: see Link."""
        for link in self._links:
            await link.set(condition)

    async def close(self) -> None:
        """End all connections."""
        for link in self._links:
            await link.close()
