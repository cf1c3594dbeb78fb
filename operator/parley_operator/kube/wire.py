"""HTTP to one API server: two pools of connections, who calls, deadlines, waiting when told to."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from parley_operator.kube.access import Access
from parley_operator.kube.errors import ApiError, ApiFailed, ApiUnavailable, NotLeading, refusal
from parley_operator.metrics import API_CALLS, API_THROTTLED

_SILENCE = 150.0
"""Seconds without a line after which a watch counts as broken; bookmarks come about once a minute."""
_HEADERS = {"user-agent": "parley-operator"}


class Wire:
    """What every `client.Kube` of a process calls through. Use as an async context manager."""

    def __init__(self, access: Access, *, timeout: float = 30.0, connections: int = 32) -> None:
        self._access = access
        self._timeout = timeout
        self._connections = connections
        self.calls = 0
        """Requests sent so far."""
        self.writes = 0
        """Those of them that were to change something."""

    async def __aenter__(self) -> Self:
        tls = self._access.tls or True
        pool = aiohttp.TCPConnector(ssl=tls, limit=self._connections, keepalive_timeout=60)
        # Watches have connections of their own: they must not keep calls waiting for one.
        apart = aiohttp.TCPConnector(ssl=tls, limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=pool, headers=_HEADERS)
        self._watching = aiohttp.ClientSession(connector=apart, headers=_HEADERS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._watching.close()

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
        accept: str = "application/json",
        fence: Callable[[], float] | None = None,
    ) -> dict[str, Any]:
        """What the server answers. It is asked again when it says so (429, or 500 and 503 with Retry-After), as long as
        the timeout allows. With a `fence`, nothing is sent once it tells 0 seconds, nor waited for longer than it tells.

        Raises ApiUnavailable when there is no answer in time, NotLeading behind the fence, else ApiError.
        """
        data = orjson.dumps(body) if body is not None else None
        deadline = time.monotonic() + self._timeout
        while True:
            left = deadline - time.monotonic()
            if fence is not None:
                left = min(left, fence())
                if left <= 0:
                    raise NotLeading("not the leader any more, or not surely; nothing was written")
            self.calls += 1
            self.writes += method != "GET"
            try:
                async with self._session.request(
                    method,
                    self._access.server + path,
                    params=query,
                    data=data,
                    headers=self._auth | {"accept": accept} | ({"content-type": content} if data else {}),
                    timeout=aiohttp.ClientTimeout(total=max(0.05, left)),
                ) as response:
                    text = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                API_CALLS.labels(method, "none").inc()
                raise ApiUnavailable(f"the API server does not answer ({_said(error)})") from error
            API_CALLS.labels(method, str(response.status)).inc()
            if response.status < 300:
                try:
                    return orjson.loads(text)
                except orjson.JSONDecodeError as error:  # something in between that answers in its place
                    raise ApiUnavailable(
                        "what answers in the API server's place does not speak JSON"
                    ) from error
            pause = _pause(response)
            if pause is None or time.monotonic() + pause > deadline:
                raise _answered(response.status, text)
            API_THROTTLED.inc()
            await asyncio.sleep(pause)

    async def watch(
        self, path: str, query: Mapping[str, str]
    ) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """The events of a watch, (type, object), until the server ends it. Raises ApiUnavailable when the connection
        breaks or is silent for too long, else ApiError."""
        timeout = aiohttp.ClientTimeout(connect=self._timeout, sock_read=_SILENCE)
        self.calls += 1
        try:
            async with self._watching.get(
                self._access.server + path,
                params=query,
                headers=self._auth | {"accept": "application/json"},
                timeout=timeout,
            ) as response:
                API_CALLS.labels("WATCH", str(response.status)).inc()
                if response.status != 200:
                    raise _answered(response.status, await response.read())
                async for line in _lines(response.content):
                    told = orjson.loads(line)
                    if told["type"] == "ERROR":
                        raise refusal(int(told["object"].get("code") or 500), told["object"])
                    yield told["type"], told["object"]
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise ApiUnavailable(f"a watch broke off ({_said(error)})") from error

    @property
    def _auth(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._access.token.text}"} if self._access.token else {}


async def _lines(content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Lines of any length, which the reader's own are not."""
    rest: list[bytes] = []
    async for chunk in content.iter_any():
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for other in others:
            if line := b"".join(rest):
                yield line
            rest = [other]


def _pause(response: aiohttp.ClientResponse) -> float | None:
    """Seconds after which to send a refused call again; None: not at all."""
    after = response.headers.get("retry-after", "")
    if response.status not in (429, 500, 503) or not (after or response.status == 429):
        return None
    seconds = float(after) if after.isdecimal() else 1.0
    return seconds * random.uniform(1.0, 1.5) or random.uniform(0.05, 0.2)


def _answered(status: int, text: bytes) -> ApiError | ApiUnavailable:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        told = {"message": f"the API server answered {status}: {text[:200].decode(errors='replace')}"}
    message = str(told.get("message") or f"the API server answered {status}")[:2000]
    if status in (429, 503, 504):
        return ApiUnavailable(message)
    if status >= 500:
        return ApiFailed(message)
    return refusal(status, told)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
