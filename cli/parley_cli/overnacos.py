"""An embedded platform whose registry serves the agents of a Nacos, which the team is then published in, too."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = "PARLEY_REGISTRY_NACOS"
"""Where the registry of the platform finds the address: as an option it would show in the list of processes."""


@dataclass(frozen=True, slots=True)
class OverNacos:
    """What others may know of it: `shown` is the address without user and password ("" for no Nacos), `namespace` the one
    of the team."""

    shown: str = ""
    namespace: str = "public"

    @classmethod
    def of(cls, url: str) -> "OverNacos":
        """The same of an address as `parley registry --nacos` takes it, or of "". Raises ConfigurationError."""
        if not url:
            return cls()
        from parley_registry.nacos.address import NacosAddress

        address = NacosAddress.parse(url)
        return cls(str(address), address.namespace)

    @classmethod
    def environment(cls) -> "OverNacos":
        """What the environment of this process says."""
        return cls.of(os.environ.get(VARIABLE, ""))

    def store(self, name: str) -> str:
        """The name of the registry's database: a copy of one Nacos is of no use for another, or without."""
        return f"{name}-{hashlib.sha256(self.shown.encode()).hexdigest()[:8]}" if self.shown else name

    def __str__(self) -> str:
        return f"over {self.shown}" if self.shown else "without Nacos"


NO_NACOS = OverNacos()


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment that does not know the address, for all but the registry."""
    return {name: value for name, value in environment.items() if name != VARIABLE}


async def require(url: str) -> None:
    """Come back when Nacos lets us in at this address. Raises RegistryUnavailable, NotAllowed."""
    from parley_registry.client import UnknownAgent, connect

    nacos = connect(url)
    try:
        await nacos.get("orchestrator")
    except UnknownAgent:
        pass  # which it could only say after it had let us in
    finally:
        await nacos.aclose()
