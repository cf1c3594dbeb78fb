"""The host: puts store, bus, front, worker, sweeper, publisher and doors together. It decides nothing."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

from a2a.server.agent_execution import AgentExecutor
from a2a.types import a2a_pb2 as pb
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp

from parley_core import telemetry
from parley_core.bearer import bearer
from parley_core.errors import ParleyError
from parley_core.hostguard import HostGuard, allowed_hosts, require_safe_listen
from parley_core.identity import authenticator_for
from parley_core.shown import shown_address
from parley_registry.client import Instance, Registry, connect
from parley_runtime.admission import Admission
from parley_runtime.bindings.app import App, build_app
from parley_runtime.bindings.card import jwks_route
from parley_runtime.bindings.grpc import GrpcServer, start_grpc
from parley_runtime.cards import Cards
from parley_runtime.engines import engines_for
from parley_runtime.front import Front
from parley_runtime.inbox import Inbox
from parley_runtime.limitsfile import LimitsFile
from parley_runtime.pages import Pages
from parley_runtime.payloads import payloads_for
from parley_runtime.prompts import HostPrompts
from parley_runtime.publisher import Publisher
from parley_runtime.push.service import PushService
from parley_runtime.residents import executor_name, judge
from parley_runtime.rollout import RolloutTable
from parley_runtime.serving import HttpServer
from parley_runtime.settings import HostSettings
from parley_runtime.store import Resident
from parley_runtime.sweeper import Sweeper
from parley_runtime.worker import Worker

log = logging.getLogger(__name__)

_TAKING_DOWN = 5.0
_PATIENCE_START = 30.0
"""Seconds that a host waits at its start for a database that cannot be reached."""


class AgentHost:
    """A durable A2A server around an executor. `await host.run()` serves until a signal; or mount `host.app`
    (an ASGI app whose lifespan starts and stops the rest) in a server of your own.

    `card` is a 1.0 AgentCard; its `supported_interfaces` are written by the host. `extended_card` is what callers
    who proved who they are may read of it. `executor` is any a2a-sdk AgentExecutor. An executor may have `routes`
    (Starlette routes, mounted at /agent), `on_crash` ("retry" or "fail"), async `start(host)` / `stop()` of its own, and
    `away()`, which says why it can run nothing now ("" while it can): the host is not ready then, and takes no work.

    Raises ConfigurationError for settings that cannot work.
    """

    def __init__(
        self,
        card: pb.AgentCard,
        executor: AgentExecutor,
        settings: HostSettings | None = None,
        *,
        extended_card: pb.AgentCard | None = None,
    ) -> None:
        self.settings = settings or HostSettings()
        s = self.settings
        self._executor = executor
        self._away: Callable[[], str] = getattr(executor, "away", lambda: "")
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._authenticator = authenticator_for(s.auth_issuer, s.auth_audience, s.auth_jwks)
        require_safe_listen(s.listen, self._authenticator)
        if s.grpc:
            require_safe_listen(s.grpc, self._authenticator)
        self.cards = Cards(card, extended_card, s)
        self.card = self.cards.public
        known_as = s.known_as(self.card.name)
        self.engines = engines_for(s, known_as, self.card.version, self.id, patience=_PATIENCE_START)
        self.store = self.engines.store
        self.push = PushService(self.engines.outbox, s.push_allow, give_up=s.push_give_up)
        self.payloads = payloads_for(s)
        version = self.card.version
        self.prompts = HostPrompts(self.card.name, version)
        self.rollout = RolloutTable(self.card.name, version, self.store)
        self.worker = None
        if "worker" in s.role:
            self.worker = Worker(
                self.store,
                self.engines.bus,
                self.engines.queue,
                executor,
                worker=self.id,
                agent=self.card.name,
                version=version,
                concurrency=s.concurrency,
                lease=s.lease,
                max_attempts=s.max_attempts,
                pushed=self.push.wake,
                payloads=self.payloads,
                prompts=self.prompts,
                away=self._away,
            )
        classes = dict(s.classes)
        self.limits = LimitsFile(s.limits_file, self.store, classes) if s.limits_file else None
        self.front = Front(
            self.card,
            self.store,
            self.engines.bus,
            self.engines.queue,
            self.push,
            version=version,
            extended_card=self.cards.extended,
            worker=self.worker,
            cancel_wait=s.cancel_wait,
            payloads=self.payloads,
            admission=Admission(frozenset(s.trusted), classes),
            begins_on=self.rollout.choose,
        )
        inbox = s.inbox if "front" in s.role else ""
        self.inbox = Inbox.of(inbox, known_as, s.inbox_owner, self.front.submit)
        self._pages = Pages(self.store, self.push.failures, self._not_ready, self._slower)
        self._inner = self._doors()
        hosts = allowed_hosts(s.listen, s.allowed_hosts)
        self.app: ASGIApp = HostGuard(self._inner, hosts)  # type: ignore[assignment,arg-type]
        self._registry: Registry | None = None
        self._publisher: Publisher | None = None
        self._grpc: GrpcServer | None = None
        self._background: asyncio.Task[None] | None = None
        self._draining = False
        self._died: BaseException | None = None
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()

    def _doors(self) -> App:
        extra: list[BaseRoute] = []
        routes: Sequence[BaseRoute] | None = getattr(self._executor, "routes", None)
        if routes:
            extra.append(Mount("/agent", routes=list(routes)))
        public, owned = self.payloads.routes()
        return build_app(
            self.front,
            self._authenticator,
            max_body_bytes=self.settings.max_body_bytes,
            healthz=self._pages.healthz,
            readyz=self._pages.readyz,
            metrics=self._pages.metrics,
            owned=[*self._pages.owned, *owned],
            extra=[jwks_route(self.cards.jwks), *extra, *public],
            lifespan=self._lifespan,
        )

    # -- life

    async def start(self) -> None:
        """Open the store and start everything that runs beside the HTTP server."""
        s = self.settings
        telemetry.start(self.card.name, self.id)
        await self.engines.open()
        await self._move_in()
        await self.rollout.open()
        await self.payloads.open()
        begin = getattr(self._executor, "start", None)
        if begin is not None:
            await begin(self)
        if self.worker is not None:
            await self.worker.register()
        if s.grpc:
            self._grpc = await start_grpc(
                self.front, self._authenticator, s.grpc, max_message_bytes=s.max_body_bytes
            )
        if self.inbox is not None:
            await self.inbox.open()
        if s.registry:
            self._registry = connect(s.registry, token=bearer(s.registry_token, s.registry_token_file))
            instance = Instance(self.id, self.card.supported_interfaces[0].url)
            if self.worker is not None:
                self.prompts.open(self._registry)
            self._publisher = Publisher(self._registry, self.card, instance)
        self._background = asyncio.create_task(self._beside(), name="parley-host")
        self._background.add_done_callback(self._beside_ended)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    async def _move_in(self) -> None:
        who = self.settings.agent_id or executor_name(self._executor)
        me = Resident(self.card.name, self.card.version, who)
        try:
            for warning in judge(me, await self.store.move_in(me)):
                log.warning("%s", warning)
        except ParleyError:
            await self.engines.close()
            raise

    async def _beside(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweeper().run())
            group.create_task(self.push.run())
            group.create_task(self.payloads.clean())
            group.create_task(self.rollout.run(self._registry))
            if self.worker is not None:
                group.create_task(self.worker.run())
            if self._publisher is not None:
                group.create_task(self._publisher.run())
            if self.prompts.reader is not None:
                group.create_task(self.prompts.reader.run())
            group.create_task(self.cards.run(self._signed_anew))
            if self.limits is not None:
                group.create_task(self.limits.run())

    def _signed_anew(self) -> None:
        if self._publisher is not None:
            self._publisher.renew()

    def _sweeper(self) -> Sweeper:
        name, version = self.card.name, self.card.version
        return Sweeper(
            self.store,
            self.engines.bus,
            self.engines.queue,
            worker=self.id,
            agent=name,
            version=version,
            interval=self.settings.lease / 6,
            retain_events=self.settings.retain_events,
            retain_tasks=self.settings.retain_tasks,
            pushed=self.push.wake,
        )

    def _beside_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("a part of the host died; stopping so that it is restarted", exc_info=error)
            self._died = error
            self._stop.set()

    async def _depart(self) -> None:
        if not self._draining:
            self._draining = True
            if self._publisher is not None:
                await self._publisher.withdraw()

    async def drain(self) -> None:
        """Take no new work, end the streams (their clients resume elsewhere), finish or hand over what runs; calls
        that wait for what finishes in time still get their answers."""
        await self._depart()
        if self.inbox is not None:
            await self.inbox.close()
        log.info(
            "no more calls are taken; %d streams end, their clients go on elsewhere", self._inner.open_streams
        )
        self._end_streams()
        async with asyncio.TaskGroup() as group:
            if self._grpc is not None:
                group.create_task(self._unless_hurried(self._grpc.stop(self.settings.drain)))
            if self.worker is not None:
                await self._drain_worker(self.worker)
        self._end_streams()

    async def _drain_worker(self, worker: Worker) -> None:
        running = worker.running
        if running:
            log.info("%d executions may go on for %.0f s", running, self.settings.drain)
        handed_over = await worker.drain(self.settings.drain)
        log.info("%d executions have ended, %d are handed over", running - handed_over, handed_over)
        await self._take_down()

    async def _take_down(self) -> None:
        """The last worker of a version that has no work left takes down what the queue had for it."""
        version = self.card.version
        try:
            async with asyncio.timeout(_TAKING_DOWN):
                if not await self.store.in_use(version):
                    await self.engines.queue.remove(version)
        except (ParleyError, TimeoutError) as error:
            log.info("what the queue has for version %s stays: %s", version, error or "no answer in time")

    def _end_streams(self) -> None:
        self._inner.end_streams()
        if self._grpc is not None:
            self._grpc.end_streams()

    async def close(self) -> None:
        """Stop what `start` started. Call `drain` before, unless nothing is to be saved."""
        if self._grpc is not None:
            await self._grpc.stop(0.5)
        if self._background is not None:
            self._background.cancel()
            with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                await self._background
        if self._registry is not None:
            await self._registry.aclose()
        end = getattr(self._executor, "stop", None)
        if end is not None:
            await end()
        await self._authenticator.aclose()
        await self.payloads.close()
        await self.engines.close()
        telemetry.stop()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then go on listening for `drain_delay` seconds, no longer ready, and drain. A
        second signal ends it at once.

        Raises ConfigurationError when the listen address cannot be had, ParleyError when a part of the host died.
        """
        server = HttpServer(self.app, self.settings.listen, grace=self.settings.drain)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, server)
        await self.start()
        serving = asyncio.create_task(server.run_until_told(), name="parley-http")
        stopping = asyncio.create_task(self._stop.wait())
        registry = self.settings.registry
        log.info(
            "serving %s %s at %s, its tasks kept in %s, %s",
            self.card.name,
            self.card.version,
            server.url,
            shown_address(self.settings.store),
            f"its registry {shown_address(registry)}"
            if registry
            else "published nowhere (--registry names a registry)",
        )
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                await self._part(server)
            server.stop_listening()
            await self.drain()
            await serving
        finally:
            stopping.cancel()
            await self.close()
        if self._died is not None:
            raise ParleyError("a part of the host died; the log says which, and why") from self._died
        log.info("stopped")

    def _signalled(self, server: HttpServer) -> None:
        if self._stop.is_set():
            log.warning("told to stop again: nothing is waited for any more")
            self._hurry.set()
            server.force_exit = True
            if self.worker is not None:
                self.worker.hurry()
        self._stop.set()

    async def _part(self, server: HttpServer) -> None:
        """Be unready, and out of the registry, before the port closes: who still sends calls here is given time to learn it."""
        delay = self.settings.drain_delay if "front" in self.settings.role and self._died is None else 0.0
        log.info(
            "stopping: not ready any more, and listening for another %.0f s; %d streams and %d executions are open",
            delay,
            self._inner.open_streams,
            self.worker.running if self.worker is not None else 0,
        )
        await self._depart()
        if delay:
            server.part()
            await self._unless_hurried(asyncio.sleep(delay))

    async def _unless_hurried(self, patience: Coroutine[None, None, None]) -> None:
        both = [asyncio.ensure_future(patience), asyncio.ensure_future(self._hurry.wait())]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for one in both:
            one.cancel()

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.drain()
            await self.close()

    def _slower(self) -> dict[str, str]:
        inbox = self.inbox.status() if self.inbox is not None else ""
        said = {"inbox": inbox, "versions": self.rollout.status()}
        return {**self.engines.status(), **{name: reason for name, reason in said.items() if reason}}

    def _not_ready(self) -> str:
        if self._draining:
            return "draining"
        if self.worker is not None and (away := self._away()):
            return away
        if self._publisher is not None and not self._publisher.published.is_set():
            return "not in the registry yet"
        return ""
