"""A consumer's session with the proxy: who it is, kept alive, and begun again when it breaks."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import grpc

from parley_core.errors import ParleyError
from parley_runtime.rocketmq.connection import Connection, away, check
from parley_runtime.rocketmq.errors import RocketAway
from parley_runtime.rocketmq.loops import Loops
from parley_runtime.rocketmq.producer import client_metadata, route
from parley_runtime.rocketmq.stubs import definition, service

log = logging.getLogger(__name__)

_BEAT = 10.0
_DEADLINE = 3.0
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)


class Session:
    """One consumer of one group on one topic, as the proxy knows it."""

    def __init__(
        self,
        connection: Connection,
        *,
        topic: str,
        group: str,
        client_id: str,
        lite: bool = False,
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_begin` is called each time the proxy has taken the session on (again)."""
        self.connection = connection
        self.topic = topic
        self.group = group
        self.client_id = client_id
        self.metadata = client_metadata(client_id)
        types = definition.ClientType
        self._type = types.LITE_PUSH_CONSUMER if lite else types.SIMPLE_CONSUMER
        self._on_begin = on_begin
        self._loops = Loops()
        self.live = asyncio.Event()
        """Set while the proxy knows this session."""
        self._queue: Any = None
        self.problem = "not begun yet"
        """Why it is not live."""

    def open(self) -> None:
        """Begin, and keep at it until `close`."""
        self._loops.open(f"rocketmq-session:{self.group}", self._keep)

    async def close(self) -> None:
        """End it, and tell the proxy so if it answers."""
        await self._loops.close()
        if self.live.is_set():
            self.live.clear()
            request = service.NotifyClientTerminationRequest()
            request.group.name = self.group
            with contextlib.suppress(RocketAway):
                await self.call("NotifyClientTermination", request, 1.0)

    async def call(self, method: str, request: Any, deadline: float = _DEADLINE) -> Any:
        """A call under this session's name. Raises RocketAway."""
        return await self.connection.call(method, request, self.metadata, deadline)

    def queue(self) -> Any:
        """A MessageQueue that stands for all queues of the topic. Raises RocketAway while the session is not live."""
        if not self.live.is_set():
            raise RocketAway(self.problem)
        return self._queue

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                await self._live()
                failures = 0
            except ParleyError as error:
                self.problem = str(error)
            except grpc.aio.AioRpcError as error:
                self.problem = str(away(error))
            except TimeoutError:
                self.problem = "the RocketMQ proxy does not answer in time"
            except asyncio.InvalidStateError:  # grpc.aio, when a stream is written that has just ended
                self.problem = "the RocketMQ proxy ended the session"
            if self.live.is_set():
                failures = 0
                self.live.clear()
            log.debug("session %s: %s", self.group, self.problem)
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _live(self) -> None:
        """Live until the proxy ends it."""
        number = self.connection.number
        self._queue = await route(self.connection, self.topic, self.metadata, _DEADLINE)
        telemetry = self.connection.duplex("Telemetry", self.metadata)
        try:
            async with asyncio.timeout(_DEADLINE):
                await telemetry.write(service.TelemetryCommand(settings=self._settings()))
                while True:
                    command = await telemetry.read()
                    if command is grpc.aio.EOF:
                        raise RocketAway("the RocketMQ proxy ended the session at once")
                    if command.HasField("status"):
                        check(command.status)
                    if command.HasField("settings"):
                        break
            await self._heartbeat()
            self.live.set()
            self._on_begin()
            reading = asyncio.create_task(_until_end(telemetry))
            try:
                while True:
                    done, _ = await asyncio.wait([reading], timeout=_BEAT)
                    if done:
                        self.problem = "the RocketMQ proxy ended the session"
                        return
                    await self._heartbeat()
                    if number != self.connection.number:
                        self.problem = "the connection to the RocketMQ proxy is a new one"
                        return
            finally:
                reading.cancel()
                await asyncio.wait([reading])
        finally:
            telemetry.cancel()

    async def _heartbeat(self) -> None:
        request = service.HeartbeatRequest(client_type=self._type)
        request.group.name = self.group
        check((await self.call("Heartbeat", request)).status)

    def _settings(self) -> Any:
        address = self.connection.address
        settings = definition.Settings(client_type=self._type)
        settings.access_point.scheme = definition.AddressScheme.DOMAIN_NAME
        settings.access_point.addresses.add(host=address.host, port=address.port)
        settings.request_timeout.FromMilliseconds(int(_DEADLINE * 1000))
        settings.user_agent.language = definition.Language.PYTHON
        settings.user_agent.version = "5.1.2"
        settings.subscription.group.name = self.group
        entry = settings.subscription.subscriptions.add()
        entry.topic.name = self.topic
        entry.expression.type, entry.expression.expression = definition.FilterType.TAG, "*"
        settings.subscription.long_polling_timeout.FromMilliseconds(20_000)
        return settings


async def _until_end(telemetry: Any) -> None:
    """Read the proxy's commands (none of which Parley needs) until there are no more."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await telemetry.read() is not grpc.aio.EOF:
            pass
