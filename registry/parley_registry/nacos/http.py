"""Nacos's HTTP API: logged in, with a deadline on every call, its answers as values and its refusals as errors."""

import asyncio
import itertools
import logging
import time
from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from parley_registry.errors import AddressRefused, BadRequest, NotAllowed, RegistryUnavailable, UnknownAgent
from parley_registry.nacos.address import NacosAddress

_LOGIN = "/v3/auth/user/login"
_UNKNOWN_AGENT = (50100, 50101)
"""Nacos's codes for an agent, and for a version of an agent, that does not exist."""
_HALF_DELETED = 'argument "content" is null'
"""What Nacos says of an agent between the deletion of its card and that of its list of versions."""
_CONFLICT = 20005
_LOCKED = "lock could not be obtained"
"""What Nacos's built-in database says, with 500, to one of several who write at once; the write is undone."""
_LOCKED_PAUSES = (0.2, 0.5, 1.0)
"""Seconds before it is tried again, and again."""
_LOGIN_SECONDS = 60.0
"""A login costs the server a slow hash: when hundreds come at once, the last waits for all before it."""


def _shows_no_token(record: logging.LogRecord) -> bool:
    return "receive_response_headers" not in record.getMessage()


logging.getLogger("httpcore.http11").addFilter(_shows_no_token)
"""Nacos answers a login with the token in a header too, and httpcore writes headers at DEBUG."""


class AlreadyThere(BadRequest):
    """What was to be created exists already."""


class NacosHttp:
    """Calls to the admin API of one Nacos cluster; a server that does not answer is passed over for the next.

    Every call raises RegistryUnavailable when no server answers within `timeout` seconds or one fails, and
    NotAllowed when Nacos does not accept the user, the password, or what the user wants to do.
    """

    def __init__(self, address: NacosAddress, *, timeout: float = 10.0) -> None:
        self.address = address
        self._timeout = timeout
        scheme = "https" if address.tls else "http"
        self._bases = itertools.cycle([f"{scheme}://{one.http}{address.context}" for one in address.servers])
        self._base = next(self._bases)
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False)
        self._token = ""
        self._renew_at = 0.0
        self._logging_in: asyncio.Task[None] | None = None

    async def aclose(self) -> None:
        """Let go of the connections."""
        if self._logging_in is not None:
            self._logging_in.cancel()
            await asyncio.wait([self._logging_in])
        await self._client.aclose()

    async def get(self, path: str, query: Mapping[str, str]) -> Any:
        """The `data` of what `path` (below the context, as /v3/admin/…) answers."""
        return await self._call("GET", path, query=query)

    async def post(self, path: str, form: Mapping[str, str]) -> Any:
        """The same for a POST of a form."""
        return await self._call("POST", path, form=form)

    async def put(self, path: str, form: Mapping[str, str]) -> Any:
        """The same for a PUT of a form."""
        return await self._call("PUT", path, form=form)

    async def delete(self, path: str, query: Mapping[str, str]) -> Any:
        """The same for a DELETE."""
        return await self._call("DELETE", path, query=query)

    async def token(self) -> str:
        """A token that is good now, or "" if the address names no user. Raises NotAllowed, RegistryUnavailable."""
        if not self.address.user:
            return ""
        if not self._token or time.monotonic() > self._renew_at:
            if self._logging_in is None or self._logging_in.done():
                self._logging_in = asyncio.create_task(self._login(), name="nacos-login")
                self._logging_in.add_done_callback(_seen)
            async with _deadline(self._timeout, self.address):
                await asyncio.shield(self._logging_in)
        return self._token

    def forget(self, token: str) -> None:
        """Log in again before the next call: this token was refused."""
        if token == self._token:
            self._token = ""

    async def _login(self) -> None:
        """Goes on when who waited for it has given up: a hash that the server computes for nothing delays all others."""
        who = {"username": self.address.user, "password": self.address.password}
        response = await self._send("POST", _LOGIN, form=who, seconds=_LOGIN_SECONDS)
        if response.status_code in (429, 502, 503, 504):
            raise RegistryUnavailable(f"{self.address} takes no logins now ({response.status_code})")
        if response.status_code >= 400:  # 3.1 answers a wrong password with 500, an unknown user with 403
            raise AddressRefused(
                f"{self.address} refuses the user {self.address.user!r} with this password; correct user and password in "
                "the registry's address, nacos://user:password@…, percent-encoded where they hold @ : / ? # or %"
            )
        try:
            told = orjson.loads(response.content)
            told = told.get("data") or told
            token, seconds = str(told["accessToken"]), float(told["tokenTtl"])
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            raise BadRequest(
                f"{self.address} answers a login in no form of Nacos; is it a Nacos server?"
            ) from None
        self._token, self._renew_at = token, time.monotonic() + seconds * 0.8

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Any:
        renewed = False
        pauses = iter(_LOCKED_PAUSES)
        while True:
            token = await self.token()
            response = await self._send(method, path, query=query, form=form, token=token)
            if response.status_code in (401, 403) and token and not renewed:
                self.forget(token)  # it may have been forgotten by a server that was set up anew
                renewed = True
            elif _is_locked(response) and method != "DELETE" and (pause := next(pauses, None)) is not None:
                await asyncio.sleep(pause)
            else:
                return self._data(response)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        token: str = "",
        seconds: float = 0.0,
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        failure = ""
        seconds = seconds or self._timeout
        async with _deadline(seconds, self.address):
            for _ in self.address.servers:
                try:
                    return await self._client.request(
                        method, self._base + path, params=query, data=form, headers=headers, timeout=seconds
                    )
                except httpx.HTTPError as error:
                    failure = type(error).__name__
                    self._base = next(self._bases)
        raise RegistryUnavailable(f"{self.address} does not answer ({failure}); is Nacos running there?")

    def _data(self, response: httpx.Response) -> Any:
        code, message, data = _result(response)
        status = response.status_code
        if status == 200 and code == 0:
            return data
        detail = f"{message}: {data}" if isinstance(data, str) and data else message
        if status in (401, 403):
            raise refused(self.address, detail)
        if code in _UNKNOWN_AGENT or (response.request.method == "GET" and _HALF_DELETED in detail):
            raise UnknownAgent(detail)
        if code == _CONFLICT:
            raise AlreadyThere(detail)
        if status >= 500 or status == 429:
            raise RegistryUnavailable(f"{self.address} fails ({status}): {detail}")
        raise BadRequest(f"Nacos refuses ({status}, code {code}): {detail}")


def refused(address: NacosAddress, said: str) -> NotAllowed:
    """Nacos does not let the user do something."""
    if not address.user:
        return AddressRefused(
            f"{address} does not let in who shows no user ({said}); write the address as nacos://user:password@…"
        )
    return AddressRefused(
        f"{address} does not let {address.user!r} do that ({said}); have Nacos's administrator give it read and write "
        f"permission on the namespace {address.namespace!r}, or name a user in the address who has it"
    )


def _result(response: httpx.Response) -> tuple[int, str, Any]:
    """Code, message and data of Nacos's envelope; code -1 for an answer without, as its filters give them."""
    try:
        told = orjson.loads(response.content)
        return int(told.get("code", -1)), str(told["message"]), told.get("data")
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        return -1, response.text.partition("\n")[0][:200], None


def _is_locked(response: httpx.Response) -> bool:
    return response.status_code == 500 and _LOCKED in response.text


def _seen(login: "asyncio.Task[None]") -> None:
    """Who waited for a login is told how it ended; when nobody does any more, nobody has to be."""
    if not login.cancelled():
        login.exception()


class _deadline:
    """`asyncio.timeout` that ends in RegistryUnavailable."""

    def __init__(self, seconds: float, address: NacosAddress) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._text = f"{address} does not answer within {seconds:g} s; is Nacos running there?"

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._timeout.__aexit__(*raised)
        except TimeoutError:
            raise RegistryUnavailable(self._text) from None
