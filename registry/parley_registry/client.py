"""The typed client of the registry service: all that other parts know of it."""

import asyncio
import ipaddress
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
import orjson
from a2a.types import AgentCard
from google.protobuf.json_format import MessageToDict, ParseDict

from parley_registry.entry import PUBLIC, Change, Entry, Hit, Instance, Page
from parley_registry.errors import (
    BY_KIND,
    BadRequest,
    CardRejected,
    CardUnreachable,
    Fault,
    LatestInUse,
    NotAllowed,
    RegistryBusy,
    RegistryError,
    RegistryUnavailable,
    UnknownAgent,
    UnknownInstance,
    VersionConflict,
)

__all__ = [
    "BadRequest",
    "CardRejected",
    "CardUnreachable",
    "Change",
    "Entry",
    "Fault",
    "Hit",
    "Instance",
    "LatestInUse",
    "NotAllowed",
    "Page",
    "RegistryBusy",
    "RegistryClient",
    "RegistryError",
    "RegistryUnavailable",
    "UnknownAgent",
    "UnknownInstance",
    "VersionConflict",
]

_WATCH_SILENCE = 20.0
"""Seconds without even a comment after which a watch counts as broken (the service speaks every 5)."""


class RegistryClient:
    """Calls to one registry, over one pool of connections, concerning the agents of one namespace. Use as an async context manager, or `aclose` it.

    Every call raises RegistryUnavailable when the registry cannot be reached within `timeout` seconds or
    fails, and NotAllowed when it does not accept `token`.
    """

    def __init__(
        self, url: str, *, namespace: str = PUBLIC, token: str | None = None, timeout: float = 10.0
    ) -> None:
        self.url = url.rstrip("/")
        self.namespace = namespace
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=timeout,
            headers={"authorization": f"Bearer {token}"} if token else {},
            trust_env=not _is_loopback(self.url),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connections; watches end."""
        await self._http.aclose()

    async def publish(self, card: AgentCard, *, instance: Instance | None = None) -> Entry:
        """Publish `card` as version `card.version` of agent `card.name`, and announce a running instance of it.

        The same card again is the same entry, so a host may publish at every start. A release higher than
        all before it becomes latest.

        Raises CardRejected with every fault of the card, VersionConflict when the version was published
        with another card.
        """
        body: dict[str, Any] = {"namespace": self.namespace, "card": MessageToDict(card)}
        if instance:
            body["instance"] = {"id": instance.id, "url": instance.url}
        return _entry(await self._call("POST", "/v1/agents", body))

    async def heartbeat(self, name: str, version: str, instance_id: str) -> None:
        """Say that an instance lives; due every 2 seconds, it counts as gone after 6.

        Raises UnknownInstance when the registry does not know it (it was down too long, or deleted): publish again.
        """
        await self._call("POST", f"{_instance_path(name, version, instance_id)}/heartbeat", query=self._here)

    async def withdraw(self, name: str, version: str, instance_id: str) -> None:
        """Say that an instance stops now. Withdrawing one that is not known changes nothing."""
        await self._call("DELETE", _instance_path(name, version, instance_id), query=self._here)

    async def register_url(self, url: str) -> Entry:
        """Register an external agent by the URL of its card, or of its server (then the well-known path is used).

        Raises CardUnreachable when the card cannot be fetched from there, or may not be (a private address),
        CardRejected, VersionConflict.
        """
        return _entry(await self._call("POST", "/v1/external", {"namespace": self.namespace, "url": url}))

    async def get(self, name: str, version: str | None = None) -> Entry:
        """The latest version of an agent, or the one asked for. Raises UnknownAgent."""
        return _entry(await self._call("GET", _agent_path(name, version), query=self._here))

    async def versions(self, name: str) -> list[Entry]:
        """All versions of an agent, highest first by SemVer 2. Raises UnknownAgent."""
        found = await self._call("GET", f"{_agent_path(name)}/versions", query=self._here)
        return [_entry(one) for one in found["versions"]]

    async def set_latest(self, name: str, version: str) -> Entry:
        """Make `version` the latest, for a roll back too. It stays so until a higher release than all is published.

        Raises UnknownAgent.
        """
        path = f"{_agent_path(name)}/latest"
        return _entry(await self._call("PUT", path, {"version": version}, self._here))

    async def delete(self, name: str, version: str | None = None) -> None:
        """Delete one version, or the agent with all its versions. A host still running publishes itself again.

        Raises UnknownAgent, and LatestInUse for the latest version while others exist.
        """
        await self._call("DELETE", _agent_path(name, version), query=self._here)

    async def search(
        self,
        *,
        text: str = "",
        namespace: str | None = None,
        skill: str = "",
        tag: str = "",
        capability: str = "",
        input_mode: str = "",
        output_mode: str = "",
        provider: str = "",
        binding: str = "",
        protocol_version: str = "",
        health: str = "",
        limit: int = 20,
        cursor: str = "",
    ) -> Page:
        """The entries for which all that is given holds, best first; without anything given, all of the namespace.

        `namespace` is by default the client's own; "" searches all of them.

        `text` are words (the last may be a prefix); the others are exact values, case-insensitive. `cursor`
        is the `next` of the page before, with the same search. Raises BadRequest for a value out of range or
        a cursor of another search.
        """
        wanted = {
            "text": text,
            "namespace": self.namespace if namespace is None else namespace,
            "skill": skill,
            "tag": tag,
            "capability": capability,
            "inputMode": input_mode,
            "outputMode": output_mode,
            "provider": provider,
            "binding": binding,
            "protocolVersion": protocol_version,
            "health": health,
            "cursor": cursor,
            "limit": str(limit),
        }
        found = await self._call("GET", "/v1/agents", query={k: v for k, v in wanted.items() if v})
        return Page(
            entries=tuple(
                Hit(_entry(hit["entry"]), hit["score"], tuple(hit["reasons"])) for hit in found["entries"]
            ),
            facets=found["facets"],
            next=found["next"],
            total=found["total"],
        )

    async def watch(self, *, after: int | None = None) -> AsyncGenerator[Change, None]:
        """Changes as they happen, each once and in order; ends only when the iteration is given up.

        Starts after change number `after` (0: all that is still kept), by default with what happens from now
        on. A lost connection is made again and resumed. Raises NotAllowed, BadRequest.
        """
        pause = 0.2
        while True:
            try:
                async with aclosing(self._watch_once(after)) as changes:
                    async for seq, change in changes:
                        after, pause = seq, 0.2
                        if change:
                            yield change
            except (RegistryUnavailable, RegistryBusy):
                pass  # the same watch may succeed later: that is what the pause is for
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, 5.0)

    async def _watch_once(self, after: int | None) -> AsyncGenerator[tuple[int, Change | None], None]:
        headers = {"accept": "text/event-stream"} | (
            {"last-event-id": str(after)} if after is not None else {}
        )
        timeout = httpx.Timeout(self._http.timeout.connect, read=_WATCH_SILENCE)
        try:
            async with self._http.stream("GET", "/v1/watch", headers=headers, timeout=timeout) as response:
                if response.status_code != 200:
                    await response.aread()
                    _raise_for(response)
                data, event = "", ""
                async for line in response.aiter_lines():
                    field, _, value = line.partition(":")
                    if field == "data":
                        data += value.strip()
                    elif field == "event":
                        event = value.strip()
                    elif not line and data:
                        told = orjson.loads(data)
                        data, kind, event = "", event, ""
                        seq = int(told["seq"])
                        yield (
                            seq,
                            None
                            if kind == "start"
                            else Change(seq, told["kind"], told["namespace"], told["name"], told["version"]),
                        )
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"the watch on {self.url} broke off ({_said(error)})") from error

    @property
    def _here(self) -> dict[str, str]:
        return {} if self.namespace == PUBLIC else {"namespace": self.namespace}

    async def _call(
        self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> Any:
        try:
            response = await self._http.request(
                method,
                path,
                params=query,
                content=orjson.dumps(body) if body is not None else None,
                headers={"content-type": "application/json"} if body is not None else None,
            )
        except httpx.HTTPError as error:
            raise RegistryUnavailable(
                f"the registry at {self.url} does not answer ({_said(error)}); is it running there?"
            ) from error
        if not response.is_success:
            _raise_for(response)
        return orjson.loads(response.content) if response.content else None


def _raise_for(response: httpx.Response) -> None:
    kind, detail, faults = _problem_of(response)
    if kind in BY_KIND:
        raise BY_KIND[kind](detail, faults)
    if response.status_code >= 500:
        raise RegistryUnavailable(detail)
    if response.status_code in (401, 403):
        raise NotAllowed(detail, faults)
    raise BadRequest(
        f"{detail}; is {response.request.url.host}:{response.request.url.port} a Parley registry?"
    )


def _problem_of(response: httpx.Response) -> tuple[str, str, tuple[Fault, ...]]:
    try:
        told = orjson.loads(response.content)
        if "error" in told:  # the door of the loopback profile
            return "", str(told["error"]["message"]), ()
        faults = tuple(Fault(str(one["field"]), str(one["message"])) for one in told.get("faults", ()))
        return str(told["type"]).rpartition(":")[2], str(told["detail"]), faults
    except (orjson.JSONDecodeError, KeyError, TypeError):
        host = response.request.url.netloc.decode("ascii")
        return "", f"{host} answered {response.status_code}; is it a Parley registry?", ()


def _entry(told: Mapping[str, Any]) -> Entry:
    return Entry(
        namespace=told["namespace"],
        name=told["name"],
        version=told["version"],
        latest=told["latest"],
        health=told["health"],
        instances=tuple(Instance(one["id"], one["url"]) for one in told["instances"]),
        external=told["external"],
        card=ParseDict(told["card"], AgentCard(), ignore_unknown_fields=True),
        updated=told["updated"],
    )


def _agent_path(name: str, version: str | None = None) -> str:
    path = f"/v1/agents/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def _instance_path(name: str, version: str, instance_id: str) -> str:
    return f"{_agent_path(name, version)}/instances/{quote(instance_id, safe='')}"


def _said(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
