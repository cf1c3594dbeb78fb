"""The gRPC connection to a Nacos cluster: kept up, begun again when it breaks, with calls that have deadlines.

One connection carries instances, subscriptions and config listeners of any number of namespaces. What a server
knows of a connection ends with it: whoever put something there does it again at `on_live`.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from parley_core.errors import ParleyError
from parley_registry.errors import BadRequest, NotAllowed, RegistryUnavailable
from parley_registry.nacos.http import NacosHttp
from parley_registry.nacos.payload import pack, unpack

log = logging.getLogger(__name__)

_DEADLINE = 3.0
_CHECK_EVERY = 5.0
"""Seconds between two health checks; a server drops a client that says nothing for 20."""
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
_UNREGISTERED = 301
_REFUSED = 403
_NO_CONFIG = 300
_LARGEST = 32 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _LARGEST),
    ("grpc.max_send_message_length", _LARGEST),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)
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
        self._unary: Any = None
        self._broken = asyncio.Event()
        self._changed = asyncio.Condition()
        self.live = False
        """Whether a server knows this connection now."""
        self.problem: ParleyError = RegistryUnavailable(f"{self.address} is not connected yet")
        """Why it is not live."""

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
                return await self._call(kind, body, deadline)
        except TimeoutError:
            raise (
                self.problem
                if not self.live
                else RegistryUnavailable(f"{self.address} does not answer within {deadline:g} s")
            ) from None

    async def _call(self, kind: str, body: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        token = await self._http.token()
        unary = self._unary
        try:
            data = await unary(pack(kind, body, {"accessToken": token} if token else {}), timeout=deadline)
            answered, told = unpack(data)
        except grpc.aio.AioRpcError as error:
            raise _away(self.address, error) from None
        except (grpc.aio.UsageError, asyncio.CancelledError, ValueError) as error:
            if isinstance(error, asyncio.CancelledError) and _cancelled_by_caller():
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
            raise NotAllowed(f"{self.address} does not let {self.address.user or 'nobody'!r} do that: {said}")
        if code == _NO_CONFIG:
            raise NotThere(said)
        if "cas publish fail" in said.lower():
            raise Overtaken(said)
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
                self.problem = error
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
        async with _channel(next(self._servers).grpc, tls=self.address.tls) as channel:
            self._unary = channel.unary_unary("/Request/request")
            self._broken.clear()
            await self._call("ServerCheckRequest", {}, _DEADLINE)
            stream = channel.stream_stream("/BiRequestStream/requestBiStream")()
            try:
                async with asyncio.timeout(_DEADLINE):
                    await stream.write(pack("ConnectionSetupRequest", _setup(), {}))
                    while (await self._read(stream)) != "SetupAckRequest":
                        pass
                await self._set_live(True)
                for begun in self._begun:
                    begun()
                reading = asyncio.create_task(self._listen(stream), name="nacos-pushes")
                checking = asyncio.create_task(self._check(), name="nacos-health")
                try:
                    done, _ = await asyncio.wait([reading, checking], return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                finally:
                    for task in (reading, checking):
                        task.cancel()
                    await asyncio.wait([reading, checking])
            finally:
                stream.cancel()

    async def _listen(self, stream: Any) -> None:
        while True:
            await self._read(stream)

    async def _check(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_EVERY):
                    await self._broken.wait()
                raise RegistryUnavailable(f"{self.address} ended the connection")
            await self._call("HealthCheckRequest", {}, _DEADLINE)

    async def _read(self, stream: Any) -> str:
        """Take one push: acknowledge it and pass it on; its type."""
        data = await stream.read()
        if data is grpc.aio.EOF:
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
            try:
                await stream.write(pack(kind.removesuffix("Request") + "Response", ack, {}))
            except asyncio.InvalidStateError:  # grpc.aio, when a stream is written that has just ended
                raise RegistryUnavailable(f"{self.address} ended the connection") from None
        if kind in self._pushes:
            self._pushes[kind](body)
        return kind

    async def _set_live(self, live: bool) -> None:
        self.live = live
        async with self._changed:
            self._changed.notify_all()


class NotThere(BadRequest):
    """Nacos has no such config."""


class Overtaken(BadRequest):
    """Another has changed the config since it was read."""


def _setup() -> dict[str, Any]:
    return {"clientVersion": "Nacos-Python-Client:v3.1.0", "labels": _LABELS, "abilityTable": {}}


@contextlib.asynccontextmanager
async def _channel(target: str, *, tls: bool) -> Any:
    channel = (
        grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(), options=_OPTIONS)
        if tls
        else grpc.aio.insecure_channel(target, options=_OPTIONS)
    )
    try:
        yield channel
    finally:
        await channel.close(None)


def _cancelled_by_caller() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _away(address: Any, error: grpc.aio.AioRpcError) -> RegistryUnavailable:
    return RegistryUnavailable(f"{address} does not answer over gRPC ({error.code().name.lower()})")
