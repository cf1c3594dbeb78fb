"""Which URLs given by others may be called, and a transport that calls exactly what was checked.

A webhook or card URL comes from outside; calling it from inside the network must not reach what only the
inside may reach (server-side request forgery; A2A section 13.2). The URL is checked when it is set, so that the
caller learns early, and again for every connection: a name is resolved once, all its addresses are judged,
and the connection goes to one of these very addresses, so an answer that changes later changes nothing.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from parley_core.errors import ParleyError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port to textual addresses; raises OSError when there are none."""

RESOLVE_SECONDS = 5.0
MAX_URL = 2048

_METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    )
)
_RULES: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(block), rule)
    for block, rule in (
        ("0.0.0.0/8", "an unspecified"),
        ("10.0.0.0/8", "a private"),
        ("100.64.0.0/10", "a carrier-grade NAT"),
        ("127.0.0.0/8", "a loopback"),
        ("169.254.0.0/16", "a link-local"),
        ("172.16.0.0/12", "a private"),
        ("192.0.0.0/24", "a reserved"),
        ("192.0.2.0/24", "a documentation"),
        ("192.88.99.0/24", "a reserved"),
        ("192.168.0.0/16", "a private"),
        ("198.18.0.0/15", "a benchmarking"),
        ("198.51.100.0/24", "a documentation"),
        ("203.0.113.0/24", "a documentation"),
        ("224.0.0.0/4", "a multicast"),
        ("240.0.0.0/4", "a reserved"),
        ("::/128", "an unspecified"),
        ("::1/128", "a loopback"),
        ("64:ff9b:1::/48", "a local NAT64"),
        ("2001::/32", "a Teredo"),
        ("2001::/23", "a reserved"),
        ("2001:db8::/32", "a documentation"),
        ("2002::/16", "a 6to4"),
        ("3fff::/20", "a documentation"),
        ("fc00::/7", "a private"),
        ("fe80::/10", "a link-local"),
        ("fec0::/10", "a private"),
        ("ff00::/8", "a multicast"),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_LABEL = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(?<!-)$")
_NUMBER = re.compile(r"^(?:[0-9]+|0x[0-9a-f]*)$")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")


class UrlRefused(ParleyError):
    """A URL that must not be called. The message names the rule and the option that would allow it; it never
    carries the URL's path, query or the address that a name resolved to, which may be secrets."""


class UrlUnresolved(UrlRefused):
    """A URL whose host has no address now; it may have one later."""


@dataclass(frozen=True, slots=True)
class PinnedTarget:
    """A checked URL with the addresses that were judged; connect to one of these and to nothing else."""

    url: str
    host: str
    port: int
    addresses: tuple[Address, ...]


async def resolve(host: str, port: int) -> Sequence[str]:
    """Addresses of a name by the system's resolver, in its order of preference. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


def allowed(entries: Sequence[str]) -> tuple[list[Network], list[str]]:
    """The networks and the host names of a list that may have both. Raises ValueError for what is neither."""
    networks: list[Network] = []
    names: list[str] = []
    for one in entries:
        try:
            networks.append(ip_network(one))
        except ValueError:
            labels = one.lower().split(".")
            if len(one) > 253 or _NUMBER.match(labels[-1]) or not all(map(_LABEL.match, labels)):
                raise ValueError(f"{one!r} is neither a network, like 10.0.0.0/8, nor a host name") from None
            names.append(one.lower())
    return networks, names


class UrlGuard:
    """Decides which URLs may be called. `allow` opens blocks that are refused otherwise; a cloud's metadata
    address is opened only by naming it alone (/32 or /128). `hosts` are names that may be called wherever they resolve to
    (but to a cloud's metadata): who says them trusts who resolves them. `option` is how messages call that setting."""

    def __init__(
        self,
        allow: Sequence[Network] = (),
        *,
        hosts: Collection[str] = (),
        schemes: Sequence[str] = ("https", "http"),
        resolver: Resolver = resolve,
        option: str = "--push-allow",
    ) -> None:
        self._allow = tuple(allow)
        self._hosts = frozenset(one.lower() for one in hosts)
        self._schemes = tuple(schemes)
        self._resolver = resolver
        self._option = option

    async def check(self, url: str) -> PinnedTarget:
        """The URL with the addresses it may be called at, all of them judged now.

        Raises UrlRefused when it is malformed, its host does not resolve within RESOLVE_SECONDS, or any of
        its addresses is not to be called.
        """
        host, port = self.parse(url)
        return PinnedTarget(url, host, port, await self.addresses(host, port))

    def parse(self, url: str) -> tuple[str, int]:
        """Host (ASCII, lower case) and port of a URL of the permitted form. Raises UrlRefused."""
        if len(url) > MAX_URL:
            raise UrlRefused(f"the URL is longer than {MAX_URL} characters; use a shorter one")
        if _FORBIDDEN.search(url):
            raise UrlRefused("the URL has a space, control character or backslash in it; percent-encode it")
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError, UnicodeError):
            raise UrlRefused("this is not a valid URL; give one like https://host/path") from None
        if parsed.scheme not in self._schemes:
            raise UrlRefused(f"the URL's scheme is not one of {', '.join(self._schemes)}; use one of these")
        if "@" in re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0] or parsed.userinfo:
            raise UrlRefused(
                "the URL carries a user name or password; put credentials into `authentication` instead"
            )
        host = parsed.raw_host.decode("ascii").lower()
        if not host:
            raise UrlRefused("the URL has no host; give one like https://host/path")
        port = parsed.port if parsed.port is not None else {"https": 443, "http": 80}.get(parsed.scheme, 0)
        if not 0 < port < 65536:
            raise UrlRefused(f"port {port} cannot be called; use a port from 1 to 65535")
        _literal(host)
        return host, port

    async def addresses(self, host: str, port: int) -> tuple[Address, ...]:
        """The addresses of a host, every one of them judged. Raises UrlRefused as `check` does."""
        literal = _literal(host)
        if literal is not None:
            found: tuple[Address, ...] = (literal,)
        else:
            try:
                async with asyncio.timeout(RESOLVE_SECONDS):
                    texts = await self._resolver(host, port)
                found = tuple(dict.fromkeys(ip_address(text.partition("%")[0]) for text in texts))
            except (OSError, TimeoutError, UnicodeError, ValueError):
                found = ()
        if not found:
            raise UrlUnresolved(f"host {host!r} does not resolve to an address; check its name")
        for address in found:
            reason = self._reason(address, named=host in self._hosts)
            if reason:
                says = "is" if literal is not None else "resolves to"
                raise UrlRefused(f"host {host!r} {says} {reason}")
        return found

    def _reason(self, address: Address, *, named: bool) -> str:
        """Why an address is refused, or "" when it may be called."""
        inner = _embedded(address)
        candidates = (address,) if inner is None else (address, inner)
        for one in candidates:
            if one in _METADATA:
                exact = any(one in block and block.num_addresses == 1 for block in self._allow)
                if not exact:
                    return (
                        f"a cloud metadata address; if that is meant, allow it alone with "
                        f"{self._option} {one}/{one.max_prefixlen}"
                    )
        if named or any(one in block for one in candidates for block in self._allow):
            return ""
        return _judge(inner if inner is not None else address, self._option)


def _judge(address: Address, option: str) -> str:
    for block, rule in _RULES:
        if address in block:
            return f"{rule} address ({block}); if that is meant, allow it with {option} {block}"
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return f"a reserved address; if that is meant, allow it with {option} {address}/128"
    if isinstance(address, IPv6Address) and (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return f"an ISATAP address; if that is meant, allow it with {option} {address}/128"
    if not address.is_global:
        return (
            f"a reserved address; if that is meant, allow it with {option} {address}/{address.max_prefixlen}"
        )
    return ""


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that a connection to this one would really reach, when there is one."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _literal(host: str) -> Address | None:
    """The address a host stands for, None for a name. Raises UrlRefused for any odd spelling of either."""
    if ":" in host:
        try:
            return IPv6Address(host) if "%" not in host else _refuse_host(host)
        except ValueError:
            _refuse_host(host)
    labels = host.split(".")
    if _NUMBER.match(labels[-1]):
        try:
            return IPv4Address(host)
        except ValueError:
            _refuse_host(host)
    if len(host) > 253 or not all(_LABEL.match(label) for label in labels):
        _refuse_host(host)
    return None


def _refuse_host(host: str) -> Address:
    raise UrlRefused(
        f"{host[:100]!r} is not a plain host; write a name without a trailing dot, or an address as 192.0.2.1 or [2001:db8::1]"
    )
