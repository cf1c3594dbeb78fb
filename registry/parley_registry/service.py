"""The registry as an HTTP service. `create_app(settings)` is what a server runs; everything it does is in `catalogue`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from parley_core.hostguard import HostGuard, allowed_hosts, require_safe_listen
from parley_core.identity import authenticator_for
from parley_registry import models
from parley_registry.card import MAX_CARD, MAX_NAME, NAMESPACE
from parley_registry.catalogue import Catalogue
from parley_registry.door import Door, Measured, Metrics
from parley_registry.entry import PUBLIC, Agent, Instance, Key
from parley_registry.mcp.routes import mcp_routes
from parley_registry.models import dated_json, entry_json, page_json
from parley_registry.pages import site as pages
from parley_registry.problems import install, problem
from parley_registry.prompts.routes import prompt_routes
from parley_registry.rollouts import routes as rollouts
from parley_registry.routing import StrictRoute, answer, problems
from parley_registry.searching.parameters import SearchParameters
from parley_registry.settings import RegistrySettings
from parley_registry.trailing import trail_routes
from parley_registry.watching import watch_routes

_MAX_BODY = MAX_CARD + 16 * 1024

Name = Annotated[str, Path(min_length=1, max_length=MAX_NAME, examples=["coder"])]
Namespace = Annotated[str, Query(pattern=NAMESPACE)]
VersionPath = Annotated[str, Path(min_length=1, max_length=64, examples=["1.0.0"])]
InstancePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:@+~-]{1,128}$", examples=["coder-1"])]


def create_app(settings: RegistrySettings | None = None) -> FastAPI:
    """The ASGI application of one registry process; without settings, as the environment says.

    Raises ConfigurationError for a store that cannot be used, and for an address that others could reach
    without proving who they are.
    """
    settings = settings or RegistrySettings()
    authenticator = authenticator_for(
        settings.auth_issuer, settings.auth_audience, settings.auth_jwks, settings.auth_rights_claim
    )
    require_safe_listen(settings.listen, authenticator)
    catalogue = Catalogue(settings)
    metrics = Metrics()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await catalogue.open()
        background = asyncio.create_task(catalogue.run(), name="registry-background")
        app.state.background = background
        try:
            yield
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)
            await catalogue.close()
            await authenticator.aclose()

    app = FastAPI(
        title="Parley registry",
        version="1",
        summary="The catalogue of A2A agents: versions, health, search.",
        lifespan=life,
    )
    install(app)
    app.include_router(_agents(catalogue))
    app.include_router(_search(catalogue))
    app.include_router(watch_routes(catalogue.feed))
    app.include_router(rollouts.router(catalogue))
    app.include_router(trail_routes(catalogue))
    app.include_router(prompt_routes(catalogue.prompts, catalogue.feed.poke))
    app.include_router(mcp_routes(catalogue.mcp, catalogue.feed.poke))
    app.include_router(_probes(catalogue, metrics))
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=_MAX_BODY)
    app.add_middleware(Door, authenticator=authenticator, most=_MAX_BODY)
    pages.install(app, catalogue, authenticator, settings)
    app.add_middleware(HostGuard, hosts=allowed_hosts(settings.listen, settings.allowed_hosts))
    app.add_middleware(Measured, metrics=metrics)
    return app


def _agents(catalogue: Catalogue) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["agents"], route_class=StrictRoute)

    @router.post(
        "/agents",
        response_model=models.EntryModel,
        responses={
            201: {"model": models.EntryModel, "description": "A new version."},
            **problems(400, 403, 409, 413, 422),
        },
    )
    async def publish(request: models.PublishRequest) -> Response:
        """Publish a card as a version of an agent. The same card again is the same entry (200)."""
        told = request.instance
        done = await catalogue.publish(
            request.namespace, request.card, Instance(told.id, told.url) if told else None
        )
        return answer(entry_json(done.entry), 201 if done.created else 200)

    @router.post(
        "/external",
        response_model=models.EntryModel,
        responses={
            201: {"model": models.EntryModel, "description": "A new version."},
            **problems(400, 403, 409, 413, 422),
        },
    )
    async def register(request: models.RegisterRequest) -> Response:
        """Register an external agent by the URL of its card, or of its server. It is looked at again from time to time."""
        done = await catalogue.register_url(request.namespace, request.url, request.name)
        return answer(entry_json(done.entry), 201 if done.created else 200)

    @router.get("/agents/{name}", response_model=models.DatedEntryModel, responses=problems(400, 404))
    async def get(name: Name, namespace: Namespace = PUBLIC) -> Response:
        """The latest version of an agent."""
        found = await catalogue.get(Agent(namespace, name), None)
        return answer(entry_json(found) | dated_json(await catalogue.freshness()))

    @router.get("/agents/{name}/versions", response_model=models.VersionsModel, responses=problems(400, 404))
    async def versions(name: Name, namespace: Namespace = PUBLIC) -> Response:
        """All versions of an agent, highest first."""
        found = await catalogue.versions(Agent(namespace, name))
        shown = {"versions": [entry_json(one) for one in found]}
        return answer(shown | dated_json(await catalogue.freshness()))

    @router.get(
        "/agents/{name}/versions/{version}",
        response_model=models.DatedEntryModel,
        responses=problems(400, 404),
    )
    async def get_version(name: Name, version: VersionPath, namespace: Namespace = PUBLIC) -> Response:
        """One version of an agent."""
        found = await catalogue.get(Agent(namespace, name), version)
        return answer(entry_json(found) | dated_json(await catalogue.freshness()))

    @router.put(
        "/agents/{name}/latest", response_model=models.EntryModel, responses=problems(400, 403, 404, 413)
    )
    async def set_latest(
        name: Name, request: models.LatestRequest, namespace: Namespace = PUBLIC
    ) -> Response:
        """Make a version the latest, until a release higher than all others is published."""
        return answer(entry_json(await catalogue.set_latest(Key(namespace, name, request.version))))

    @router.delete("/agents/{name}", status_code=204, responses=problems(400, 403, 404))
    async def delete(name: Name, namespace: Namespace = PUBLIC) -> Response:
        """Delete an agent with all its versions."""
        await catalogue.delete(Agent(namespace, name), None)
        return Response(status_code=204)

    @router.delete(
        "/agents/{name}/versions/{version}", status_code=204, responses=problems(400, 403, 404, 409)
    )
    async def delete_version(name: Name, version: VersionPath, namespace: Namespace = PUBLIC) -> Response:
        """Delete a version; not the latest while there are others."""
        await catalogue.delete(Agent(namespace, name), version)
        return Response(status_code=204)

    instance = "/agents/{name}/versions/{version}/instances/{instance_id}"

    @router.post(f"{instance}/heartbeat", status_code=204, responses=problems(400, 403, 404))
    async def heartbeat(
        name: Name, version: VersionPath, instance_id: InstancePath, namespace: Namespace = PUBLIC
    ) -> Response:
        """Say that an instance lives. On 404, publish again."""
        await catalogue.heartbeat(Key(namespace, name, version), instance_id)
        return Response(status_code=204)

    @router.delete(instance, status_code=204, responses=problems(400, 403))
    async def withdraw(
        name: Name, version: VersionPath, instance_id: InstancePath, namespace: Namespace = PUBLIC
    ) -> Response:
        """Say that an instance stops now; one that is not known is gone already."""
        await catalogue.withdraw(Key(namespace, name, version), instance_id)
        return Response(status_code=204)

    return router


def _search(catalogue: Catalogue) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["search"], route_class=StrictRoute)

    @router.get("/agents", response_model=models.PageModel, responses=problems(400))
    async def search(asked: Annotated[SearchParameters, Query()]) -> Response:
        """The entries for which all that is given holds; all of them if nothing is. Latest versions come first,
        ranked by how well they fit the text, else by name."""
        found = await catalogue.find(asked.query(), asked.limit, asked.cursor)
        return answer(page_json(found) | dated_json(await catalogue.freshness()))

    return router


def _probes(catalogue: Catalogue, metrics: Metrics) -> APIRouter:
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", response_model=models.Health, responses=problems())
    async def healthz(request: Request) -> Response:
        """Whether the process does its work."""
        if request.app.state.background.done():
            return problem(503, "busy", "the background work of this registry has ended; restart it")
        return answer({"status": "ok", "detail": ""})

    @router.get("/readyz", response_model=models.Health, responses=problems())
    async def readyz() -> Response:
        """Whether it can serve: the store answers, the index is built. It can also while what it serves is stale; the detail
        says so then."""
        waiting, fresh = await catalogue.ready(), await catalogue.freshness()
        stale = f"what is served is stale: {fresh.why}" if fresh.stale else ""
        return problem(503, "busy", waiting) if waiting else answer({"status": "ok", "detail": stale})

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def figures() -> Response:
        """Figures for Prometheus."""
        fresh = await catalogue.freshness()
        metrics.stale.set(fresh.stale)
        metrics.age.set(fresh.age)
        metrics.faulty.set(catalogue.faulty)
        metrics.watchers.set(catalogue.feed.watchers)
        metrics.entries.set(catalogue.search.size)
        metrics.unlearnt.set(catalogue.search.unlearnt)
        metrics.embeddings_down.set(bool(catalogue.search.trouble))
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
