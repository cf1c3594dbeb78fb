"""How the registry's things are called in Nacos: names, versions, groups, and what an instance says of itself.

Nacos holds agent names of up to 64 printable ASCII characters, and versions without `+`. What it cannot hold is
encoded, always the same way, so that it can be looked up; what was meant is read from the exact card (see `card`).
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict, ParseError

from parley_registry.card import address_fault
from parley_registry.entry import Instance
from parley_registry.nacos.config import ConfigKey
from parley_registry.nacos.naming import Endpoint, Service
from parley_registry.versions import MAX_VERSION, is_version

AGENTS = "agent"
"""Group of the configs in which Nacos keeps, per agent, its versions and which is latest."""
VERSIONS = "agent-version"
"""Group of the configs in which Nacos keeps the card of each version."""
ENDPOINTS = "agent-endpoints"
"""Naming group of the instances of agents."""

_MAX_NAME = 64
_MAX_ID = 255 - 1 - MAX_VERSION
_PLAIN = re.compile(r"^[\x20-\x7e]+$")
_CODED = re.compile(r"~[a-z2-7]{16}$")
_SOUND_ID = re.compile(r"[A-Za-z0-9._:@+~-]{1,128}")
"""What this registry takes as an instance's id."""
_ID_PREFIX = "____:"
_ID_KEPT = re.compile(r"[A-Za-z.:-]")
_MAX_METADATA = 1000
"""Characters of keys and values together; Nacos takes 1024."""

_PATH = "__nacos.agent.endpoint.path__"
_TRANSPORT = "__nacos.agent.endpoint.transport__"
_TLS = "__nacos.agent.endpoint.supportTls__"
_ID = "parley.id"
_URL = "parley.url"
_INTERFACES = "parley.interfaces"
_DEFLATED = "parley.interfaces.z"


def nacos_name(name: str) -> str:
    """What an agent is called in Nacos: its name, or if Nacos cannot hold that, a readable rest of it and a hash."""
    if (
        len(name) <= _MAX_NAME
        and _PLAIN.match(name)
        and not _CODED.search(name)
        and not name.startswith(_ID_PREFIX)
        and len(agent_id(name)) <= _MAX_ID
    ):
        return name
    rest = re.sub(r"[^A-Za-z-]+", "-", name).strip("-")[:40] or "agent"
    digest = hashlib.blake2b(name.encode(), digest_size=10).digest()
    return f"{rest}~{base64.b32encode(digest).decode().lower()}"


def nacos_version(version: str) -> str:
    """What a version is called in Nacos: `+` of SemVer's build metadata becomes `_`, which SemVer does not know."""
    return version.replace("+", "_") if is_version(version) else version


def agent_id(called: str) -> str:
    """Nacos's own encoding of a name (as it is called there) for the ids of its configs and services."""
    if all(_ID_KEPT.match(one) for one in called) or called.startswith(_ID_PREFIX):
        return called
    return _ID_PREFIX + "".join(one if _ID_KEPT.match(one) else f"_{ord(one):03d}" for one in called)


def called_of(id_: str) -> str:
    """The name (as in Nacos) that `agent_id` made this id of."""
    if not id_.startswith(_ID_PREFIX):
        return id_
    return re.sub(r"_(\d{3})", lambda match: chr(int(match[1])), id_.removeprefix(_ID_PREFIX))


def service_of(namespace: str, name: str, version: str) -> Service:
    """The service whose instances are those of an agent's version."""
    return Service(namespace, ENDPOINTS, f"{agent_id(nacos_name(name))}::{nacos_version(version)}")


def version_config(namespace: str, called: str, version: str) -> ConfigKey:
    """Where Nacos keeps the card of a version; both as they are called there."""
    return ConfigKey(namespace, VERSIONS, f"{agent_id(called)}-{version}")


def own_config(namespace: str, group: str, name: str) -> ConfigKey:
    """A config of Parley's own (not Nacos's) that concerns an agent."""
    return ConfigKey(namespace, group, agent_id(nacos_name(name)))


def endpoint_of(instance: Instance, interfaces: bytes) -> Endpoint:
    """A running instance as it is registered: plain readers of Nacos find URL and transport, ours the rest.

    `interfaces` are what `CheckedCard.interfaces` is of its card; when they are too long for Nacos even deflated, they
    are left out and the card's count.
    """
    listed = _listed(orjson.loads(interfaces))
    named = next((one for one in listed if one.get("url") == instance.url), listed[0] if listed else {})
    parts = urlsplit(instance.url if "://" in instance.url else f"grpc://{instance.url}")
    tls = parts.scheme == "https"
    metadata = {
        _PATH: parts.path,
        _TRANSPORT: str(named.get("protocolBinding") or "JSONRPC"),
        _TLS: "true" if tls else "false",
        _ID: instance.id,
        _URL: instance.url,
    }
    deflated = base64.b85encode(zlib.compress(interfaces, 9)).decode()
    for key, text in ((_INTERFACES, interfaces.decode()), (_DEFLATED, deflated)):
        if sum(len(k) + len(v) for k, v in metadata.items()) + len(key) + len(text) <= _MAX_METADATA:
            metadata[key] = text
            break
    return Endpoint(parts.hostname or "", parts.port or (443 if tls else 80), metadata)


def instance_of(endpoint: Endpoint) -> Instance:
    """The instance that an endpoint is, also one that another's program has registered: what that says of itself counts
    as far as this registry would have taken it."""
    metadata = endpoint.metadata
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    scheme = "https" if metadata.get(_TLS) == "true" else "http"
    path = metadata.get(_PATH, "")
    bare = f"{scheme}://{host}:{endpoint.port}"
    told = f"{bare}{path if path.startswith('/') or not path else f'/{path}'}"
    id_, urls = metadata.get(_ID, ""), (metadata.get(_URL, ""), told)
    return Instance(
        id_ if _SOUND_ID.fullmatch(id_) else f"{host}:{endpoint.port}",
        next((url for url in urls if not address_fault(url, "GRPC")), bare),
    )


def interfaces_of(metadata: Mapping[str, str]) -> bytes:
    """What `endpoint_of` was told of an instance's interfaces; b"[]" when there is nothing that can be read."""
    try:
        if _INTERFACES in metadata:
            told = metadata[_INTERFACES].encode()
        elif _DEFLATED in metadata:
            told = _inflate(base64.b85decode(metadata[_DEFLATED]))
        else:
            return b"[]"
        return told if _are_interfaces(orjson.loads(told)) else b"[]"
    except (ValueError, zlib.error):
        return b"[]"


def _are_interfaces(told: Any) -> bool:
    """Whether it is nothing but interfaces, with signatures or without: whoever registers an instance writes it, and it
    is shown as a part of the card."""
    card = told if isinstance(told, dict) else {"supportedInterfaces": told}
    if card.keys() - {"supportedInterfaces", "signatures"}:
        return False
    try:
        read = ParseDict(card, AgentCard())
    except (ParseError, RecursionError):
        return False
    places = read.supported_interfaces
    return bool(places) and not any(address_fault(one.url, one.protocol_binding) for one in places)


def _listed(told: Any) -> list[Any]:
    """The interfaces of what `CheckedCard.interfaces` says, with signatures or without."""
    listed = told.get("supportedInterfaces") if isinstance(told, dict) else told
    return listed if isinstance(listed, list) else []


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(data, 1 << 20)
    if inflater.unconsumed_tail:
        raise ValueError("larger than anything written here")
    return text
