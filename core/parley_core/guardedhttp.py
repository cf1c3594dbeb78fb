"""HTTP to URLs that others gave: one transport for httpx that a UrlGuard stands behind."""

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any

import httpcore
import httpx

from parley_core.errors import ParleyError
from parley_core.urlguard import UrlGuard


class ResponseTooLarge(ParleyError):
    """The answer is longer than we are willing to read, or came in an encoding we did not ask for."""


def guarded_client(
    guard: UrlGuard, *, max_body: int = 4096, seconds: float = 15.0, verify: bool | str = True
) -> httpx.AsyncClient:
    """An HTTP client on `GuardedTransport`, without redirects, cookies of the environment or proxies."""
    return httpx.AsyncClient(
        transport=GuardedTransport(guard, max_body=max_body, seconds=seconds, verify=verify),
        follow_redirects=False,
        trust_env=False,
        timeout=seconds,
    )


class GuardedTransport(httpx.AsyncBaseTransport):
    """Calls only what its guard lets through.

    Every request's URL is parsed by the guard; every new connection resolves the name, has all addresses
    judged and connects to one of those. Connections are kept by host name, so TLS always verifies the name
    of the URL. An answer's `Location` is dropped, so no client follows it. At most `max_body` bytes of a body
    are read; waiting for the answer, and then for its body, each ends after `seconds`.

    Raises UrlRefused, ResponseTooLarge, or httpx's transport errors.
    """

    def __init__(
        self, guard: UrlGuard, *, max_body: int = 4096, seconds: float = 15.0, verify: bool | str = True
    ) -> None:
        self._guard = guard
        self._max_body = max_body
        self._seconds = seconds
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(verify=_trust(verify), trust_env=False),
            max_connections=None,
            max_keepalive_connections=32,
            keepalive_expiry=15.0,
            network_backend=_PinnedBackend(guard),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._guard.parse(str(request.url))
        request.headers["Accept-Encoding"] = "identity"
        assert isinstance(request.stream, AsyncIterable)
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._pool.handle_async_request(
                    httpcore.Request(
                        method=request.method,
                        url=httpcore.URL(
                            scheme=request.url.raw_scheme,
                            host=request.url.raw_host,
                            port=request.url.port,
                            target=request.url.raw_path,
                        ),
                        headers=request.headers.raw,
                        content=request.stream,
                        extensions=request.extensions,
                    )
                )
        except TimeoutError:
            raise httpx.ReadTimeout(f"no answer within {self._seconds:g} s", request=request) from None
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _as_httpx(error, request) from error
        body = _Body(answer, request, self._max_body, self._seconds)
        headers = httpx.Headers(answer.headers)
        headers.pop("location", None)
        return httpx.Response(answer.status, headers=headers, stream=body, extensions=answer.extensions)

    async def aclose(self) -> None:
        await self._pool.aclose()


def _trust(verify: bool | str) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify


def _as_httpx(error: Exception, request: httpx.Request) -> httpx.TransportError:
    kind = getattr(httpx, type(error).__name__, httpx.TransportError)
    return kind(str(error) or type(error).__name__, request=request)


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response, request: httpx.Request, limit: int, seconds: float) -> None:
        self._answer = answer
        self._packed = httpx.Headers(answer.headers).get("content-encoding", "identity").lower() != "identity"
        self._request = request
        self._limit = limit
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._packed:
            raise ResponseTooLarge(
                "the answer is compressed although we asked for it plain; send it as it is"
            )
        left = self._limit
        ends = asyncio.get_running_loop().time() + self._seconds
        parts = self._answer.aiter_stream().__aiter__()
        while True:
            try:
                async with asyncio.timeout_at(ends):
                    part = await anext(parts, None)
            except TimeoutError:
                raise httpx.ReadTimeout(
                    f"the body took over {self._seconds:g} s", request=self._request
                ) from None
            except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
                raise _as_httpx(error, self._request) from error
            if part is None:
                return
            left -= len(part)
            if left < 0:
                raise ResponseTooLarge(f"the answer is longer than {self._limit} bytes; send a shorter one")
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to judged addresses; the name is resolved here and nowhere else."""

    def __init__(self, guard: UrlGuard) -> None:
        self._guard = guard
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._guard.addresses(host.strip("[]"), port)
        failure: Exception | None = None
        for address in addresses[:4]:
            try:
                return await self._sockets.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("sockets of the file system are not called")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
