"""Where a Nacos server is: `nacos://user:password@host:8848/namespace`."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from parley_core.errors import ConfigurationError
from parley_registry.card import NAMESPACE
from parley_registry.entry import PUBLIC

_FORM = "write it like nacos://user:password@host:8848/namespace"
_HOST = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?$")
_GRPC = 1000
"""How far above its HTTP port a server listens for gRPC, by Nacos's convention."""


@dataclass(frozen=True, slots=True)
class Server:
    """One member of a Nacos cluster: its host (IPv6 in brackets) and HTTP port."""

    host: str
    port: int

    @property
    def http(self) -> str:
        """`host:port` of the HTTP API."""
        return f"{self.host}:{self.port}"

    @property
    def grpc(self) -> str:
        """`host:port` of the gRPC endpoint."""
        return f"{self.host}:{self.port + _GRPC}"


@dataclass(frozen=True, slots=True)
class NacosAddress:
    """A Nacos cluster, who calls it, and the namespaces meant (`namespace` is the first). Never shows the password."""

    servers: tuple[Server, ...]
    namespaces: tuple[str, ...] = (PUBLIC,)
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    context: str = "/nacos"

    @classmethod
    def parse(cls, url: str) -> "NacosAddress":
        """From `nacos://[user:password@]host[:8848][,host2[:8848]…][/namespace[,namespace…]][?tls=true][&context=/nacos]`.

        User and password are percent-encoded where they hold `@`, `:`, `/`, `?`, `#` or `%`. Raises
        ConfigurationError that says what to write instead, and never shows the password.
        """
        try:
            parts = urlsplit(url)
            asked = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise ConfigurationError(f"this is not an address of Nacos; {_FORM}") from None
        if parts.scheme != "nacos" or parts.fragment:
            raise ConfigurationError(f"this is not an address of Nacos; {_FORM}")
        who, _, where = parts.netloc.rpartition("@")
        user, _, password = who.partition(":")
        if who and not (user and password):
            raise ConfigurationError(f"an address of Nacos has both a user and a password, or none; {_FORM}")
        if unknown := sorted(set(asked) - {"tls", "context"}):
            raise ConfigurationError(
                f"an address of Nacos has no {unknown[0]!r}; it may have tls and context"
            )
        return cls(
            servers=tuple(_server(one) for one in where.split(",")),
            namespaces=_namespaces(unquote(parts.path)),
            user=unquote(user),
            password=unquote(password),
            tls=_truth(asked.get("tls", ["false"])[-1]),
            context=_context(asked.get("context", ["/nacos"])[-1]),
        )

    @property
    def namespace(self) -> str:
        """The first namespace."""
        return self.namespaces[0]

    def __str__(self) -> str:
        """The address without user and password, fit to be shown."""
        return f"nacos://{','.join(one.http for one in self.servers)}/{','.join(self.namespaces)}"


def _server(text: str) -> Server:
    match = _HOST.match(text)
    port = int(match[2] or 8848) if match else 0
    if not match or not 0 < port <= 65535 - _GRPC:
        raise ConfigurationError(f"this address of Nacos names no host and port that can be; {_FORM}")
    return Server(match[1], port)


def _namespaces(path: str) -> tuple[str, ...]:
    named = tuple(part.strip() for part in path.strip("/").split(",")) if path.strip("/") else (PUBLIC,)
    for one in named:
        if not re.match(NAMESPACE, one):
            raise ConfigurationError(
                f"{one[:80]!r} is not a namespace of Nacos; give its id (letters, digits, '_', '-'), not its title"
            )
    return tuple(dict.fromkeys(named))


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigurationError(f"tls={text[:20]!r} is neither true nor false")
    return text == "true"


def _context(text: str) -> str:
    if not re.match(r"^(/[A-Za-z0-9._/-]*)?$", text):
        raise ConfigurationError(f"context={text[:80]!r} is not a path; write it like /nacos")
    return text.rstrip("/")
