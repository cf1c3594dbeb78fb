"""Where a RocketMQ cluster is: `rocketmq://proxy:8081?namesrv=host:9876`."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from parley_core.errors import ConfigurationError

_FORM = "use rocketmq://proxy-host:8081, if need be with ?namesrv=host:9876"


@dataclass(frozen=True, slots=True)
class RocketAddress:
    """The proxy's gRPC endpoint, and the name server through which brokers are administered."""

    host: str
    port: int
    namesrv: tuple[str, int]

    @classmethod
    def parse(cls, url: str) -> "RocketAddress":
        """From `rocketmq://host[:8081][?namesrv=host:9876]`. The name server is by default the proxy's host at 9876.
        Raises ConfigurationError with the expected form."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"this is not an address of RocketMQ ({error}); {_FORM}") from error
        if parts.scheme != "rocketmq" or not parts.hostname or parts.path not in ("", "/"):
            raise ConfigurationError(f"this is not an address of RocketMQ; {_FORM}")
        if parts.username or parts.password:
            raise ConfigurationError(
                f"access keys of RocketMQ are not supported; {_FORM}, on a network of its own"
            )
        asked = parse_qs(parts.query, keep_blank_values=True)
        if unknown := sorted(set(asked) - {"namesrv"}):
            raise ConfigurationError(f"an address of RocketMQ has no {unknown[0]!r}; {_FORM}")
        namesrv = _endpoint(asked["namesrv"][-1]) if "namesrv" in asked else (parts.hostname, 9876)
        return cls(parts.hostname, port or 8081, namesrv)

    @property
    def target(self) -> str:
        """`host:port` of the proxy."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"{text!r} is not a name server's address; use ?namesrv=host:9876")
    return host.strip("[]"), int(port)
