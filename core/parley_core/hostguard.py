"""The loopback profile's door: a web page must not reach a local agent through the browser of its user.

A page can make a browser call 127.0.0.1 by a name of its own (DNS rebinding: the Host header tells) or straight from
another origin (the Origin header tells). Both are turned away before anything else looks at the request.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from parley_core.errors import ConfigurationError
from parley_core.identity import Anonymous, Authenticator

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOCAL = ("localhost", "127.0.0.1", "::1")
_MISDIRECTED = b'{"error":{"code":421,"message":"This host is not called by that name; call it by its listen address, or name it in PARLEY_ALLOWED_HOSTS"}}'
_FORBIDDEN = b'{"error":{"code":403,"message":"Pages of other origins may not call this host; name the origin\'s host in PARLEY_ALLOWED_HOSTS if they may"}}'


def is_loopback(listen: str) -> bool:
    """Whether `host:port` (or a host) can be reached from this machine alone."""
    host = host_name(listen)
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(listen: str, extra: Sequence[str] = ()) -> frozenset[str] | None:
    """The names a host listening there may be called by; None: by any, since callers prove who they are.

    Ports do not matter: a forwarded port is called by another number, and a rebound name is another name.
    """
    if not is_loopback(listen):
        return None
    return frozenset((*_LOCAL, host_name(listen), *(host_name(name) for name in extra)))


def host_name(value: str) -> str:
    """The host of a `host`, `host:port` or `[v6]:port`, in lower case; "" when it is none of them."""
    value = value.strip().lower()
    if value.startswith("["):
        host, closed, rest = value[1:].partition("]")
        return host if closed and (not rest or (rest[0] == ":" and rest[1:].isdigit())) else ""
    if value.count(":") > 1:
        return value
    host, colon, port = value.partition(":")
    return host if not colon or port.isdigit() else ""


def require_safe_listen(listen: str, authenticator: Authenticator | None) -> None:
    """Raises ConfigurationError when others could reach this address without saying who they are."""
    if not is_loopback(listen) and (authenticator is None or isinstance(authenticator, Anonymous)):
        raise ConfigurationError(
            f"listening on {listen} would let anyone on the network in; set PARLEY_AUTH_ISSUER, "
            "PARLEY_AUTH_AUDIENCE and PARLEY_AUTH_JWKS, or listen on 127.0.0.1"
        )


class HostGuard:
    """ASGI middleware: 421 for a Host header that is not among `hosts`, 403 for a page of another origin.

    With `hosts` None (see `allowed_hosts`) it lets everything through.
    """

    def __init__(self, app: App, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hosts is None or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = _refusal(scope["headers"], self._hosts)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        status, body = refusal
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _refusal(headers: Sequence[tuple[bytes, bytes]], hosts: frozenset[str]) -> tuple[int, bytes] | None:
    named = 0
    for name, value in headers:
        if name == b"host":
            named += 1
            if host_name(value.decode("latin-1")) not in hosts:
                return 421, _MISDIRECTED
        elif name == b"origin" and not _may_call(value.decode("latin-1"), hosts):
            return 403, _FORBIDDEN
    return None if named == 1 else (421, _MISDIRECTED)


def _may_call(origin: str, hosts: frozenset[str]) -> bool:
    try:
        return (urlsplit(origin).hostname or "") in hosts
    except ValueError:
        return False
