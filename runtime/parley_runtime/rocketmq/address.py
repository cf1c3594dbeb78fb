"""Where a RocketMQ cluster is, and how it is spoken to: `rocketmq://proxy:8081?namesrv=host:9876`, `rocketmqs://…` by TLS."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from parley_core.errors import ConfigurationError
from parley_runtime.rocketmq.credentials import ACCESS_KEY, SECRET_KEY, Credentials

_FORM = "use rocketmq://proxy-host:8081 (rocketmqs:// for TLS), if need be with ?namesrv=host:9876"
_PARAMETERS = frozenset({"namesrv", "ca", "credentials"})


@dataclass(frozen=True, slots=True)
class RocketAddress:
    """The proxy's gRPC endpoint, and the name server through which brokers are administered."""

    host: str
    port: int
    namesrv: tuple[str, int]
    tls: bool = False
    ca: bytes | None = None
    """Certificates (PEM) of the only authorities that are trusted; None: those that everybody trusts."""
    credentials: Credentials | None = None

    @classmethod
    def parse(cls, url: str) -> "RocketAddress":
        """From `rocketmq[s]://host[:8081][?namesrv=host:9876&ca=file&credentials=file]`. The name server is by default the
        proxy's host at 9876; without a file the access key is the environment's, if there is one (see Credentials).
        Raises ConfigurationError with the expected form."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"this is not an address of RocketMQ ({error}); {_FORM}") from error
        if parts.scheme not in ("rocketmq", "rocketmqs") or not parts.hostname or parts.path not in ("", "/"):
            raise ConfigurationError(f"this is not an address of RocketMQ; {_FORM}")
        if parts.username or parts.password:
            raise ConfigurationError(
                "an address of RocketMQ holds no access key: set "
                f"{ACCESS_KEY} and {SECRET_KEY}, or name their file with ?credentials=/path"
            )
        asked = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if unknown := sorted(set(asked) - _PARAMETERS):
            raise ConfigurationError(f"an address of RocketMQ has no {unknown[0]!r}; {_FORM}")
        tls = parts.scheme == "rocketmqs"
        if "ca" in asked and not tls:
            raise ConfigurationError(f"ca= is for TLS, which rocketmq:// does not use; {_FORM}")
        return cls(
            parts.hostname,
            port or 8081,
            _endpoint(asked["namesrv"]) if "namesrv" in asked else (parts.hostname, 9876),
            tls,
            _certificates(asked["ca"]) if "ca" in asked else None,
            Credentials.read(Path(asked["credentials"]))
            if "credentials" in asked
            else Credentials.of_environment(),
        )

    @property
    def target(self) -> str:
        """`host:port` of the proxy."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def remoting_tls(self) -> ssl.SSLContext | None:
        """How name server and brokers are spoken to; None: in plain text. Brokers are known by the addresses that they
        registered, which certificates seldom name: with a `ca` of the cluster's own it is enough that it signed."""
        if not self.tls:
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca is not None else None)
        context.check_hostname = self.ca is None
        return context


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"{text!r} is not a name server's address; use ?namesrv=host:9876")
    return host.strip("[]"), int(port)


def _certificates(path: str) -> bytes:
    try:
        pem = Path(path).read_bytes()
        ssl.create_default_context(cadata=pem.decode("ascii"))
    except (OSError, ValueError) as error:  # of which SSLError and UnicodeDecodeError are two
        raise ConfigurationError(f"ca={path}: no certificates can be read there ({error})") from None
    return pem
