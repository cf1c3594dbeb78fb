"""Nacos's MCP registry: its servers as the registry's values, and what it can be told.

Of what it cannot do (measured on 3.1.0): a name has no slash, a version no `+`, a server one endpoint, and deleting one
version deletes the server with all of them. Nothing is pushed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import orjson

from parley_registry.entry import Health
from parley_registry.errors import BadRequest, Fault, McpRejected, RegistryUnavailable
from parley_registry.mcp.check import check_server
from parley_registry.mcp.server import McpKey, McpServer, Transport
from parley_registry.mcp.wire import server_json
from parley_registry.nacos.http import NacosHttp

_PATH = "/v3/admin/ai/mcp"
_INSTANCES = "/v3/admin/ns/instance/list"
_PAGE = 100
_CALLED: Mapping[Transport, str] = {"stdio": "stdio", "sse": "mcp-sse", "streamable-http": "mcp-streamable"}
_MEANT = {called: protocol for protocol, called in _CALLED.items()}
_SHOWN = 5.0
"""Seconds within which Nacos shows what it has taken."""


class NacosMcp:
    """Calls to the MCP registry of one Nacos. All raise RegistryUnavailable, NotAllowed, BadRequest."""

    def __init__(self, http: NacosHttp) -> None:
        self._http = http

    async def names(self, namespace: str) -> dict[str, tuple[str, ...]]:
        """The servers of a namespace, each with its versions."""
        found: dict[str, tuple[str, ...]] = {}
        number = 1
        while True:
            query = {
                "namespaceId": namespace,
                "mcpName": "",
                "search": "blur",
                "pageNo": str(number),
                "pageSize": str(_PAGE),
            }
            page = await self._http.get(f"{_PATH}/list", query)
            for one in page["pageItems"]:
                versions = (str(version["version"]) for version in one.get("versionDetails") or ())
                found[str(one["name"])] = tuple(dict.fromkeys(versions))
            if number >= int(page["pagesAvailable"]):
                return found
            number += 1

    async def get(self, key: McpKey, version: str, *, now: float) -> McpServer:
        """One version of a server. Raises McpRejected when what Nacos has breaks this registry's rules."""
        told = await self._http.get(
            _PATH, {"namespaceId": key.namespace, "mcpName": key.name, "version": version}
        )
        found = read_detail(key.namespace, told, now=now)
        return replace(found, health=await self._health(told)) if found.health == "up" else found

    async def _health(self, told: Mapping[str, Any]) -> Health:
        """That of a server whose endpoints Nacos shows: "unknown" when somebody entered them by hand, for Nacos never looks at
        those; "up" when one belongs to a process that keeps itself registered."""
        where = (told.get("remoteServerConfig") or {}).get("serviceRef") or {}
        query = {
            "namespaceId": str(where.get("namespaceId") or ""),
            "groupName": str(where.get("groupName") or ""),
            "serviceName": str(where.get("serviceName") or ""),
        }
        if not query["serviceName"]:
            return "unknown"
        try:
            instances = await self._http.get(_INSTANCES, query) or ()
        except BadRequest:
            return "down"  # how Nacos says that the last one has gone
        kept = [one for one in instances if one.get("ephemeral")]
        if not kept:
            return "unknown"
        return "up" if any(one.get("healthy") and one.get("enabled", True) for one in kept) else "down"

    async def put(self, server: McpServer, *, new: bool, latest: bool) -> None:
        """Keep a version of a server, the first one (`new`) or another; back when Nacos shows it.

        Raises McpRejected for what Nacos cannot hold.
        """
        form = _form(server)
        if new:
            await self._http.post(_PATH, form)
        else:
            await self._http.put(_PATH, form | {"latest": "true" if latest else "false"})
        await self._until(
            lambda found: server.version in found.get(server.name, ()), server.key, server.version
        )

    async def delete(self, key: McpKey) -> None:
        """Delete a server with all its versions; back when Nacos does not show it any more."""
        await self._http.delete(_PATH, {"namespaceId": key.namespace, "mcpName": key.name})
        await self._until(lambda found: key.name not in found, key, "deleted")

    async def _until(self, so: Callable[[Mapping[str, Sequence[str]]], bool], key: McpKey, what: str) -> None:
        until = time.monotonic() + _SHOWN
        while time.monotonic() < until:
            if so(await self.names(key.namespace)):
                return
            await asyncio.sleep(0.05)
        raise RegistryUnavailable(
            f"Nacos does not show the MCP server {key.name} as {what} yet; look again later"
        )


def read_detail(namespace: str, told: Mapping[str, Any], *, now: float) -> McpServer:
    """A server of Nacos's detail answer. Endpoints are those that Nacos shows; with some a remote one is "up" as far as this
    answer says, without any it is down. Raises McpRejected, BadRequest for what is no such answer."""
    try:
        protocol = str(told.get("frontProtocol") or told["protocol"])
        detail = told["versionDetail"]
        remote = told.get("remoteServerConfig") or {}
        points = told.get("frontendEndpoints") or told.get("backendEndpoints") or ()
        endpoints = [_url(one, str(remote.get("exportPath") or "")) for one in points]
        tools = [
            {
                "name": one["name"],
                "description": one.get("description") or "",
                "inputSchema": one.get("inputSchema") or {},
            }
            for one in (told.get("toolSpec") or {}).get("tools") or ()
        ]
        server = check_server(
            {
                "namespace": namespace,
                "name": told["name"],
                "version": detail["version"],
                "description": told.get("description") or "",
                "protocol": _MEANT.get(protocol, protocol),
                "endpoints": sorted(set(endpoints)),
                "tools": tools,
                "launch": told.get("localServerConfig") or {},
            },
            now=now,
            source="nacos",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"Nacos tells of an MCP server in a form that is not known ({error!r})") from error
    alive: Health = "unknown" if server.protocol == "stdio" else "up" if server.endpoints else "down"
    return replace(server, latest=bool(detail.get("is_latest")), health=alive)


def _url(point: Mapping[str, Any], path: str) -> str:
    scheme = str(point.get("protocol") or ("https" if int(point["port"]) == 443 else "http"))
    address = str(point["address"])
    host = f"[{address}]" if ":" in address else address
    path = str(point.get("path") or path)
    port = int(point["port"])
    where = host if port == {"http": 80, "https": 443}.get(scheme) else f"{host}:{port}"
    return f"{scheme}://{where}{path if path.startswith('/') or not path else '/' + path}"


def _form(server: McpServer) -> dict[str, str]:
    faults = []
    if "/" in server.name:
        faults.append(Fault("name", "has a slash, which Nacos does not take; write a dot or '-' instead"))
    if "+" in server.version:
        faults.append(Fault("version", "has build metadata (+), which Nacos cannot read again; leave it out"))
    if len(server.endpoints) > 1:
        faults.append(Fault("endpoints", "has several members; Nacos keeps one, behind which others may be"))
    if faults:
        raise McpRejected(
            f"Nacos cannot hold the MCP server {server.name!r}; change what is named", tuple(faults)
        )
    spec: dict[str, Any] = {
        "name": server.name,
        "protocol": _CALLED[server.protocol],
        "frontProtocol": _CALLED[server.protocol],
        "description": server.description,
        "version": server.version,
        "versionDetail": {"version": server.version},
        "enabled": True,
    }
    form = {"namespaceId": server.namespace, "mcpName": server.name}
    if server.endpoints:
        url = urlsplit(server.endpoints[0])
        port = url.port or (443 if url.scheme == "https" else 80)
        query = f"?{url.query}" if url.query else ""
        spec["remoteServerConfig"] = {"exportPath": f"{url.path}{query}"}
        data = {"address": str(url.hostname), "port": str(port), "transportProtocol": url.scheme}
        form["endpointSpecification"] = orjson.dumps({"type": "DIRECT", "data": data}).decode()
    else:
        spec["localServerConfig"] = dict(server.launch)
    tools = server_json(server)["tools"]
    form["toolSpecification"] = orjson.dumps({"tools": tools, "toolsMeta": {}}).decode()
    return form | {"serverSpecification": orjson.dumps(spec).decode()}
