"""Who gets in: every call but the probes' proves who makes it; and each is counted and timed."""

import time
from collections.abc import Mapping

import orjson
from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parley_core.errors import Unavailable
from parley_core.identity import Authenticator, Unauthenticated
from parley_registry.problems import problem
from parley_registry.rights import Caller, caller

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class Door:
    """ASGI middleware: 401 (or 503, when that cannot be told now) for a call that `authenticator` does not accept,
    413 for one that announces a body of more than `most` bytes."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator, most: int) -> None:
        self._app = app
        self._authenticator = authenticator
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        length = headers.get("content-length", "0")
        if not length.isdigit() or len(length) > 18 or int(length) > self._most:
            detail = f"the body is larger than the {self._most} bytes that are taken; send a smaller card"
            await problem(413, "", detail, headers={"connection": "close"})(scope, receive, send)
            return
        try:
            identity = await self._authenticator.authenticate(headers)
        except Unauthenticated as error:
            challenge = {"www-authenticate": error.challenge}
            await problem(401, "not-allowed", str(error), headers=challenge)(scope, receive, send)
        except Unavailable as error:
            await problem(503, "busy", str(error))(scope, receive, send)
        else:
            remote = str(scope["client"][0]) if scope.get("client") else ""
            known = bool(identity.issuer)
            caller.set(
                Caller(identity.owner, identity.subject, identity.rights, remote, known)
                if known
                else Caller(remote=remote)
            )
            await self._app(scope, receive, send)


class Metrics:
    """The service's figures, in a collection of its own so that two services in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "parley_registry_requests",
            "Requests by operation and status.",
            ("operation", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "parley_registry_request_seconds",
            "Seconds until an answer began, by operation.",
            ("operation",),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            registry=self.registry,
        )
        self.watchers = Gauge("parley_registry_watchers", "Open watches.", registry=self.registry)
        self.stale = Gauge(
            "parley_registry_stale",
            "1 while what is served was not known to be what Nacos holds for too long.",
            registry=self.registry,
        )
        self.age = Gauge(
            "parley_registry_age_seconds",
            "Seconds since what is served was last known to be what Nacos holds.",
            registry=self.registry,
        )
        self.faulty = Gauge(
            "parley_registry_faulty_cards",
            "Versions that others put into Nacos and that are shown although their cards break rules.",
            registry=self.registry,
        )
        self.unlearnt = Gauge(
            "parley_registry_embeddings_missing",
            "Entries that search by meaning does not find yet.",
            registry=self.registry,
        )
        self.embeddings_down = Gauge(
            "parley_registry_embeddings_down",
            "1 while search goes on by words alone, for the embeddings cannot be had.",
            registry=self.registry,
        )
        self.entries = Gauge(
            "parley_registry_entries", "Entries in the search index.", registry=self.registry
        )


class Measured:
    """ASGI middleware that fills `Metrics`."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                operation = getattr(scope.get("route"), "name", "") or "none"
                self._metrics.requests.labels(operation, str(message["status"])).inc()
                self._metrics.seconds.labels(operation).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, noting)


class StrictRequest(Request):
    """A request whose JSON is read strictly: no NaN, no half characters, no unbounded nesting."""

    async def json(self) -> object:
        return orjson.loads(await self.body())


def _headers(scope: Scope) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
