"""/healthz, /readyz and /metrics of the operator."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from parley_core.errors import ConfigurationError


class Health:
    """Served while it is open. `not_ready` says why the operator is not ready, or ""."""

    def __init__(self, listen: str, not_ready: Callable[[], str]) -> None:
        self._host, _, port = listen.rpartition(":")
        if not self._host or not port.isdigit() or int(port) > 65535:
            raise ConfigurationError(
                f"{listen!r} is not a listen address; use host:port, as in 127.0.0.1:8080"
            )
        self._port = int(port)
        self._not_ready = not_ready
        self.port = 0
        """The port that it listens on."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host.strip("[]"), self._port, shutdown_timeout=1)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror}; choose another --listen"
            ) from error
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _healthz(self, request: web.Request) -> web.Response:
        """200 while the event loop turns."""
        return web.json_response({"status": "ok"})

    async def _readyz(self, request: web.Request) -> web.Response:
        """200 once all there is in the API server is known; 503 with the reason until then."""
        reason = self._not_ready()
        return web.json_response({"status": reason or "ready"}, status=503 if reason else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        """The process's metrics in Prometheus' text format."""
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})
