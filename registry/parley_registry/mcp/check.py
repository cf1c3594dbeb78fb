"""An MCP server as the registry takes it: form and size, with every fault found in one go.

What it says is data of another party: checked, kept, shown as text. Nothing of it is called or started from here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from parley_registry.card import MAX_URL, NAMESPACE, address_fault
from parley_registry.errors import Fault, McpRejected
from parley_registry.mcp.server import PROTOCOLS, McpServer, Tool
from parley_registry.mcp.wire import with_digest
from parley_registry.versions import is_version

MCP_NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$"
"""What the name of an MCP server looks like (`io.github.team/server` is one)."""
MAX_TOOLS = 256
MAX_ENDPOINTS = 16
MAX_DESCRIPTION = 4096
MAX_SCHEMA = 32 * 1024
"""Longest `inputSchema`, and `launch`, in bytes of JSON."""
MAX_SERVER = 192 * 1024
"""Longest registration, in bytes of JSON."""
MAX_FAULTS = 200

_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[\ud800-\udfff]")
_MEMBERS = frozenset(
    {"namespace", "name", "version", "description", "protocol", "endpoints", "tools", "launch"}
)


def check_server(told: Any, *, now: float, source: str = "") -> McpServer:
    """A server given as JSON. Raises McpRejected with every fault (at most 200 are named).

    Of a `source` other than this registry, versions need not be semantic and members that are not known are left out.
    """
    if not isinstance(told, Mapping):
        raise _rejected("the MCP server", [Fault("", "must be an object with name, version and protocol")])
    faults: list[Fault] = []
    if not source:
        faults += [
            Fault(str(key)[:64], "is no member of an MCP server; leave it out")
            for key in told
            if key not in _MEMBERS
        ]
    namespace = _text(told, "namespace", faults, most=63, default="public")
    name = _text(told, "name", faults, most=128, default=None)
    version = _text(told, "version", faults, most=64, default=None)
    description = _text(told, "description", faults, most=MAX_DESCRIPTION)
    protocol = told.get("protocol")
    faults += _named(namespace, name, version, source)
    if protocol not in PROTOCOLS:
        faults.append(Fault("protocol", f"must be one of {', '.join(PROTOCOLS)}"))
    endpoints = tuple(_endpoints(told.get("endpoints", ()), faults))
    if protocol == "stdio" and endpoints:
        faults.append(Fault("endpoints", "a stdio server has none; say how it is started in launch"))
    elif protocol in PROTOCOLS[1:] and not told.get("endpoints") and not source:
        faults.append(Fault("endpoints", "is required; give at least one URL"))
    tools = tuple(_tools(told.get("tools", ()), faults))
    launch = _object(told.get("launch", {}), "launch", faults)
    if not faults and (size := len(orjson.dumps(dict(told)))) > MAX_SERVER:
        faults.append(Fault("", f"is {size} bytes of JSON; at most {MAX_SERVER} are taken"))
    if faults:
        raise _rejected(f"the MCP server {name[:64]!r}" if name else "the MCP server", faults)
    assert protocol in PROTOCOLS
    return with_digest(
        McpServer(
            namespace,
            name,
            version,
            description,
            protocol,
            endpoints,
            tools,
            launch,
            source=source,
            updated=now,
        )
    )


def _text(
    told: Mapping[str, Any], name: str, faults: list[Fault], *, most: int, default: str | None = ""
) -> str:
    value = told.get(name, default)
    if value is None:
        faults.append(Fault(name, "is required"))
    elif not isinstance(value, str):
        faults.append(Fault(name, "must be a string"))
    elif not value and default != "":
        faults.append(Fault(name, "must not be empty"))
    elif found := _UNREADABLE.search(value):
        faults.append(Fault(name, f"has a character at {found.start()} that is no text"))
    elif len(value) > most:
        faults.append(Fault(name, f"is {len(value)} characters long; at most {most} are taken"))
    else:
        return value
    return ""


def _named(namespace: str, name: str, version: str, source: str) -> Iterator[Fault]:
    if namespace and not re.match(NAMESPACE, namespace):
        yield Fault("namespace", "must be made of letters, digits, '.', '_' and '-', at most 63")
    if name and not re.match(MCP_NAME, name):
        yield Fault("name", "must be made of letters, digits, '.', '_', '/' and '-', at most 128")
    if version and not source and not is_version(version):
        yield Fault("version", "is not a semantic version; write it like 1.2.3 or 1.2.3-rc.1")


_DEFAULT_PORT = re.compile(r"^(http://[^/?#]+):80(?=[/?#]|$)|^(https://[^/?#]+):443(?=[/?#]|$)")
"""Left out: Nacos adds it, and with or without it is the same endpoint."""


def _endpoints(told: Any, faults: list[Fault]) -> Iterator[str]:
    if not isinstance(told, Sequence) or isinstance(told, str):
        faults.append(Fault("endpoints", "must be a list of URLs"))
        return
    if len(told) > MAX_ENDPOINTS:
        faults.append(Fault("endpoints", f"has {len(told)} members; at most {MAX_ENDPOINTS} are taken"))
        return
    for number, one in enumerate(told):
        fault = "must be a string" if not isinstance(one, str) else address_fault(one, "JSONRPC")
        if isinstance(one, str) and len(one) <= MAX_URL and not fault and "@" in one.split("/")[2]:
            fault = "has a user or password in it; leave them out"
        if fault:
            faults.append(Fault(f"endpoints[{number}]", fault))
        else:
            yield _DEFAULT_PORT.sub(lambda found: found[1] or found[2], one)


def _tools(told: Any, faults: list[Fault]) -> Iterator[Tool]:
    if not isinstance(told, Sequence) or isinstance(told, str):
        faults.append(Fault("tools", "must be a list"))
        return
    if len(told) > MAX_TOOLS:
        faults.append(Fault("tools", f"has {len(told)} members; at most {MAX_TOOLS} are taken"))
        return
    names: set[str] = set()
    for number, one in enumerate(told):
        here = f"tools[{number}]"
        if not isinstance(one, Mapping):
            faults.append(Fault(here, "must be an object with a name"))
            continue
        inner: list[Fault] = []
        name = _text(one, "name", inner, most=128, default=None)
        if name and name in names:
            inner.append(Fault("name", f"{name!r} is there twice"))
        names.add(name)
        description = _text(one, "description", inner, most=MAX_DESCRIPTION)
        schema = _object(one.get("inputSchema", {}), "inputSchema", inner)
        faults += [Fault(f"{here}.{fault.field}", fault.message) for fault in inner]
        yield Tool(name, description, schema)


def _object(told: Any, name: str, faults: list[Fault]) -> Mapping[str, Any]:
    if not isinstance(told, Mapping):
        faults.append(Fault(name, "must be an object"))
        return {}
    try:
        size = len(orjson.dumps(dict(told)))
    except (TypeError, RecursionError):
        faults.append(Fault(name, "must be plain JSON, not nested too deeply"))
        return {}
    if size > MAX_SCHEMA:
        faults.append(Fault(name, f"is {size} bytes of JSON; at most {MAX_SCHEMA} are taken"))
    return told


def _rejected(called: str, faults: Sequence[Fault]) -> McpRejected:
    counted = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    return McpRejected(
        f"{called} has {counted}; correct what is named and try again", tuple(faults[:MAX_FAULTS])
    )
