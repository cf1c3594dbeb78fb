"""The gRPC connection to a Nacos cluster: kept up, begun again when it breaks, with calls that have deadlines.

One connection carries instances, subscriptions and config listeners of any number of namespaces. What a server
knows of a connection ends with it: whoever put something there does it again at `on_live`.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import grpc

from parley_core.errors import ParleyError
from parley_registry.errors import BadRequest, NotAllowed, RegistryUnavailable
from parley_registry.nacos.http import NacosHttp, refused
from parley_registry.nacos.link import Link
from parley_registry.nacos.payload import pack, unpack

log = logging.getLogger(__name__)

_DEADLINE = 3.0
_CHECK_EVERY = 5.0
"""Seconds between two health checks; a server drops a client that says nothing for 20."""
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
_UNREGISTERED = 301
_REFUSED = 403
_NO_CONFIG = 300
_LIMITS = (50310, 50311)
_LABELS = {"source": "sdk", "module": "naming", "AppName": "parley"}
"""`naming`, or the server keeps no instances for the connection; configs are served under any label."""

Push = Callable[[dict[str, Any]], None]


class NacosConnection:
    """One connection at a time, to one server of the cluster after the other. `open` it, and `close` it."""

    def __init__(self, http: NacosHttp) -> None:
        self._http = http
        self.address = http.address
        self._servers = itertools.cycle(http.address.servers)
        self._pushes: dict[str, Push] = {}
        self._begun: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._broken = asyncio.Event()
        self._changed = asyncio.Condition()
        self.live = False
        """Whether a server knows this connection now."""
        self.problem: ParleyError = RegistryUnavailable(f"{self.address} is not connected yet")
        """Why it is not live. Without a traceback: gRPC ends a connection only when nothing refers to it any more."""

    def on(self, kind: str, push: Push) -> None:
        """Have `push` called with the body of each request of this type that a server sends. It must not block."""
        self._pushes[kind] = push

    def on_live(self, begun: Callable[[], None]) -> None:
        """Have `begun` called each time a server has taken a connection on that knows of nothing yet."""
        self._begun.append(begun)

    def open(self) -> None:
        """Begin to connect, and keep at it until `close`."""
        self._task = asyncio.create_task(self._keep(), name="nacos-connection")

    async def close(self) -> None:
        """End it: the server forgets instances and listeners at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def call(
        self, kind: str, body: Mapping[str, Any], *, deadline: float = _DEADLINE
    ) -> dict[str, Any]:
        """What the server answers to a request of type `kind`, once connected.

        Raises RegistryUnavailable when no server answers within `deadline` seconds, NotAllowed, BadRequest.
        """
        try:
            async with asyncio.timeout(deadline):
                async with self._changed:
                    await self._changed.wait_for(lambda: self.live)
                try:
                    return await self._call(kind, body, deadline)
                except NotAllowed:
                    if not self.address.user:
                        raise
                    return await self._call(kind, body, deadline)  # with a new token: it forgot the old one
        except TimeoutError:
            raise (
                self.problem
                if not self.live
                else RegistryUnavailable(f"{self.address} does not answer within {deadline:g} s")
            ) from None

    async def _call(self, kind: str, body: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        token = await self._http.token()
        try:
            if self._link is None:
                raise asyncio.CancelledError
            data = await self._link.call(pack(kind, body, {"accessToken": token} if token else {}), deadline)
            answered, told = unpack(data)
        except grpc.aio.AioRpcError as error:
            raise _away(self.address, error) from None
        except (grpc.aio.UsageError, ValueError):
            raise RegistryUnavailable(f"the connection to {self.address} broke off") from None
        except asyncio.CancelledError:
            if _cancelled_by_caller():
                raise
            raise RegistryUnavailable(f"the connection to {self.address} broke off") from None
        code = int(told.get("errorCode") or 0)
        if answered != "ErrorResponse" and int(told.get("resultCode") or 200) == 200:
            return told
        said = str(told.get("message") or "").partition("\n")[0][:200]
        if code == _UNREGISTERED:
            self._broken.set()
            raise RegistryUnavailable(f"{self.address} does not know this connection any more")
        if code == _REFUSED:
            self._http.forget(token)
            raise refused(self.address, said)
        if code == _NO_CONFIG:
            raise NotThere(said)
        if "cas publish fail" in said.lower():
            raise Overtaken(said)
        if code in _LIMITS:
            raise Limited(said)
        if code == 500:
            raise RegistryUnavailable(f"{self.address} fails: {said}")
        raise BadRequest(f"Nacos refuses {kind} (code {code}): {said}")

    # -- one session after the other

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                await self._serve()
                failures = 0
            except ParleyError as error:
                self.problem = type(error)(*error.args)
            except grpc.aio.AioRpcError as error:
                self.problem = _away(self.address, error)
            except TimeoutError:
                self.problem = RegistryUnavailable(f"{self.address} does not answer; is Nacos running there?")
            except Exception:
                log.exception("the connection to %s failed by a fault of ours; it begins again", self.address)
            if self.live:
                failures = 0
                await self._set_live(False)
            log.debug("nacos: %s", self.problem)
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _serve(self) -> None:
        """Connect to the next server and stay until that connection ends."""
        await self._http.token()
        link = Link(next(self._servers).grpc, tls=self.address.tls)
        self._link = link
        self._broken.clear()
        try:
            await self._call("ServerCheckRequest", {}, _DEADLINE)
            link.begin()
            async with asyncio.timeout(_DEADLINE):
                await link.write("ConnectionSetupRequest", _setup())
                while (await self._read(link)) != "SetupAckRequest":
                    pass
            await self._set_live(True)
            for begun in self._begun:
                begun()
            await _either(self._listen(link), self._check())
        finally:
            await link.close()

    async def _listen(self, link: Link) -> None:
        while True:
            await self._read(link)

    async def _check(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_EVERY):
                    await self._broken.wait()
                raise RegistryUnavailable(f"{self.address} ended the connection")
            await self._call("HealthCheckRequest", {}, _DEADLINE)

    async def _read(self, link: Link) -> str:
        """Take one push: acknowledge it and pass it on; its type."""
        data = await link.read()
        if data is None:
            raise RegistryUnavailable(f"{self.address} ended the connection")
        try:
            kind, body = unpack(data)
        except ValueError:
            log.warning("nacos: %s pushed what is no payload", self.address)
            return ""
        if kind == "ConnectResetRequest":
            raise RegistryUnavailable(f"{self.address} asks to connect elsewhere")
        if kind != "SetupAckRequest":
            ack = {"resultCode": 200, "errorCode": 0, "requestId": body.get("requestId")}
            await link.write(kind.removesuffix("Request") + "Response", ack)
        if kind in self._pushes:
            self._pushes[kind](body)
        return kind

    async def _set_live(self, live: bool) -> None:
        self.live = live
        async with self._changed:
            self._changed.notify_all()


class NotThere(BadRequest):
    """Nacos has no such config."""


class Limited(BadRequest):
    """Nacos does not watch so many keys, or patterns."""


class Overtaken(BadRequest):
    """Another has changed the config since it was read."""


def _setup() -> dict[str, Any]:
    return {"clientVersion": "Nacos-Python-Client:v3.1.0", "labels": _LABELS, "abilityTable": {}}


async def _either(*parts: Coroutine[Any, Any, None]) -> None:
    """Run these until one of them raises, and raise that."""
    tasks = [asyncio.create_task(one) for one in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        error = done.pop().exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    try:
        if error is not None:
            raise error
    finally:  # or the error would refer to itself, and keep what its traceback knows of gRPC
        del error, tasks, task


def _cancelled_by_caller() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _away(address: Any, error: grpc.aio.AioRpcError) -> RegistryUnavailable:
    return RegistryUnavailable(f"{address} does not answer over gRPC ({error.code().name.lower()})")
