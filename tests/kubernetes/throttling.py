"""A fake between an operator and the API server, for faults: it throttles, it breaks off. All else is handed on."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from parley_operator.kube.access import find_access

_KEPT = ("accept", "content-type", "authorization")


class FakeThrottle:
    """`share` of the calls are answered with 429 and Retry-After, `broken` of them not at all."""

    def __init__(self, kubeconfig: Path) -> None:
        self._access = find_access(str(kubeconfig))
        self.share = 0.0
        self.broken = 0.0
        self.throttled = 0

    @asynccontextmanager
    async def serving(self, folder: Path) -> AsyncIterator[Path]:
        """A kubeconfig that leads through it."""
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._hand_on)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        config = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
            "users": [
                {"name": "x", "user": {"token": self._access.token.text if self._access.token else ""}}
            ],
        }
        path = folder / "throttled.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._access.tls or True, limit=0)
            ) as self._session:
                yield path
        finally:
            await runner.cleanup()

    async def _hand_on(self, request: web.Request) -> web.StreamResponse:
        drawn = random.random()
        if drawn < self.share:
            self.throttled += 1
            return web.json_response(
                {"kind": "Status", "reason": "TooManyRequests", "code": 429},
                status=429,
                headers={"retry-after": "1"},
            )
        if drawn < self.share + self.broken and request.transport is not None:
            request.transport.close()
            return web.Response()
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers}
        async with self._session.request(
            request.method,
            self._access.server + request.path_qs,
            headers=headers,
            data=await request.read() or None,
        ) as answer:
            told = web.StreamResponse(status=answer.status, headers={"content-type": answer.content_type})
            await told.prepare(request)
            async for chunk in answer.content.iter_any():
                await told.write(chunk)
            return told
