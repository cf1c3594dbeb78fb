"""From the address of a registry to its client."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from parley_core.bearer import Bearer
from parley_core.errors import ConfigurationError
from parley_registry.card import NAMESPACE
from parley_registry.entry import PUBLIC
from parley_registry.httpregistry import RegistryClient
from parley_registry.port import Registry


def connect(url: str, *, token: str | Bearer | None = None) -> Registry:
    """The registry at an address; nothing is sent yet.

    `http://host:8420` (or https) is a registry service, `?namespace=team` the namespace meant there; with
    `nacos://user:password@host:8848/namespace` it is Nacos itself. `token` proves to a registry service, or to the
    catalogue of a Nacos, who calls. Raises ConfigurationError with the form expected, and without the password.
    """
    if _is_nacos(url):
        from parley_registry.nacos.address import NacosAddress  # with gRPC, which others can do without
        from parley_registry.nacos.registry import NacosRegistry

        return NacosRegistry(NacosAddress.parse(url), token=token)
    base, namespace = _service(url)
    return RegistryClient(base, namespace=namespace, token=token)


@asynccontextmanager
async def catalogue(url: str, *, token: str | Bearer | None = None) -> AsyncIterator[RegistryClient]:
    """The registry service at an address as for `connect`; of a Nacos, a catalogue that is registered there.

    Raises ConfigurationError, and RegistryUnavailable when a Nacos has no catalogue.
    """
    if _is_nacos(url):
        from parley_registry.nacos.address import NacosAddress
        from parley_registry.nacos.registry import NacosRegistry

        async with NacosRegistry(NacosAddress.parse(url), token=token) as nacos:
            yield await nacos.catalogue()
    else:
        base, namespace = _service(url)
        async with RegistryClient(base, namespace=namespace, token=token) as client:
            yield client


@asynccontextmanager
async def nearest(url: str, *, token: str | Bearer | None = None) -> AsyncIterator[Registry]:
    """The registry at an address as for `connect`; of a Nacos, a catalogue that is registered there and answers, if there is one.

    Raises ConfigurationError, RegistryUnavailable, NotAllowed.
    """
    if _is_nacos(url):
        from parley_registry.nacos.address import NacosAddress
        from parley_registry.nacos.registry import NacosRegistry

        async with NacosRegistry(NacosAddress.parse(url), token=token) as nacos:
            yield await nacos.nearest()
    else:
        async with catalogue(url, token=token) as client:
            yield client


def in_namespace(url: str, namespace: str) -> str:
    """The address of the same registry that means another of its namespaces; of the same one for "". Raises ConfigurationError."""
    require_registry(url)
    if not namespace:
        return url
    if not re.fullmatch(NAMESPACE, namespace):
        raise _no_namespace(namespace)
    parts = urlsplit(url)
    changed = (
        parts._replace(path=f"/{namespace}")
        if _is_nacos(url)
        else parts._replace(query=urlencode({"namespace": namespace}))
    )
    return urlunsplit(changed)


def require_registry(url: str) -> None:
    """Raise the ConfigurationError that `connect` would raise."""
    if _is_nacos(url):
        from parley_registry.nacos.address import NacosAddress

        NacosAddress.parse(url)
    else:
        _service(url)


def _is_nacos(url: str) -> bool:
    return url.startswith("nacos:")


def _service(url: str) -> tuple[str, str]:
    """Base URL and namespace."""
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.fragment or parts.username is not None or set(asked) - {"namespace"}:
        raise ConfigurationError(
            f"{_without_password(url)!r} is not a registry; write it like http://127.0.0.1:8420, "
            "http://127.0.0.1:8420?namespace=team or nacos://user:password@127.0.0.1:8848/team"
        )
    namespace = asked.get("namespace", [PUBLIC])[-1]
    if not re.match(NAMESPACE, namespace):
        raise _no_namespace(namespace)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), namespace


def _no_namespace(given: str) -> ConfigurationError:
    return ConfigurationError(
        f"{given[:80]!r} is not a namespace; it is of letters, digits, '.', '_' and '-'"
    )


def _without_password(url: str) -> str:
    _, separator, after = url.rpartition("@")
    return f"…@{after[:200]}" if separator else after[:200]
