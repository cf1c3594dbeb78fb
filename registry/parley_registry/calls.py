"""Calls to the registry service: one pool of connections, deadlines, refusals raised as what they are."""

import ipaddress
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import orjson
from google.protobuf.json_format import ParseError

from parley_core.bearer import Bearer
from parley_registry.entry import Change
from parley_registry.errors import BY_KIND, BadRequest, Fault, NotAllowed, RegistryUnavailable

T = TypeVar("T")

_WATCH_SILENCE = 20.0
"""Seconds without even a comment after which a watch counts as broken (the service speaks every 5)."""


class Calls:
    """What `client.RegistryClient` and its rooms for prompts and MCP servers call through."""

    def __init__(self, url: str, *, token: Bearer | None, timeout: float) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=timeout,
            auth=token,
            trust_env=not _is_loopback(self.url),
        )

    async def aclose(self) -> None:
        """Let go of the connections; streams end."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | Mapping[str, list[str]] | None = None,
    ) -> None:
        """A call whose answer says nothing more than that it was done. Raises RegistryUnavailable, RegistryError."""
        await self._request(method, path, body, query)

    async def ask(
        self,
        read: Callable[[Any], T],
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | Mapping[str, list[str]] | None = None,
    ) -> T:
        """What `read` makes of the service's answer, as JSON. Raises RegistryUnavailable, for what it cannot read too,
        and RegistryError."""
        return (await self.answered(read, method, path, body, query))[1]

    async def answered(
        self,
        read: Callable[[Any], T],
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | Mapping[str, list[str]] | None = None,
    ) -> tuple[int, T]:
        """The same with the status."""
        response = await self._request(method, path, body, query)
        try:
            return response.status_code, read(orjson.loads(response.content))
        except (KeyError, TypeError, ValueError, AttributeError, ParseError) as error:
            raise RegistryUnavailable(
                f"what {self.url} answers to {method} {path} is in no form of a Parley registry of this release; is it one?"
            ) from error

    async def _request(
        self, method: str, path: str, body: Any, query: Mapping[str, str] | Mapping[str, list[str]] | None
    ) -> httpx.Response:
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
        return response

    async def changes(
        self, after: int | None, wanted: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Change, None]:
        """The changes after that number (None: from now on) until the connection breaks; first of all a "start" with
        the number that it starts from. `wanted` narrows them down: kind, namespace, name.

        Raises RegistryUnavailable, RegistryError."""
        headers = {"accept": "text/event-stream"} | (
            {"last-event-id": str(after)} if after is not None else {}
        )
        timeout = httpx.Timeout(self._http.timeout.connect, read=_WATCH_SILENCE)
        try:
            async with self._http.stream(
                "GET", "/v1/watch", params=wanted, headers=headers, timeout=timeout
            ) as response:
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
                        if kind == "start":
                            yield Change(seq, "start", "", "", "")
                        else:
                            yield Change(seq, told["kind"], told["namespace"], told["name"], told["version"])
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryUnavailable(f"{self.url} watches in no form of a Parley registry") from error
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"the watch on {self.url} broke off ({_said(error)})") from error


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


def _said(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
