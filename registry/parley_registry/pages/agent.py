"""The pages of one agent: what it is, its card, its versions side by side."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response

from parley_registry.card import MAX_NAME, NAMESPACE
from parley_registry.catalogue import Catalogue
from parley_registry.entry import Agent
from parley_registry.models import entry_json
from parley_registry.pages.comparing import rows
from parley_registry.pages.fresh import shown_now
from parley_registry.pages.rendering import page, path_of
from parley_registry.pages.route import PageRoute
from parley_registry.record import Stored
from parley_registry.versions import MAX_VERSION

Namespace = Annotated[str, Path(pattern=NAMESPACE)]
Name = Annotated[str, Path(min_length=1, max_length=MAX_NAME)]
Version = Annotated[str, Path(min_length=1, max_length=MAX_VERSION)]

_COMPARED = 4
"""Versions that are shown side by side."""
_LISTED = 100
"""Versions, and lines of the history, that are listed."""
_SKILLS = 60
"""Skills that are shown in full."""


def agent_pages(catalogue: Catalogue) -> APIRouter:
    """The routes of an agent's pages."""
    router = APIRouter(prefix="/agents/{namespace}/{name}", include_in_schema=False, route_class=PageRoute)

    @router.get("", name="page-latest")
    async def latest(namespace: Namespace, name: Name) -> Response:
        entry = await catalogue.get(Agent(namespace, name), None)
        return RedirectResponse(path_of(namespace, name, entry.version), 303)

    @router.get("/compare", name="page-compare")
    async def compare(
        namespace: Namespace, name: Name, version: Annotated[tuple[str, ...], Query(max_length=_LISTED)] = ()
    ) -> Response:
        versions = await catalogue.versions(Agent(namespace, name))
        wanted = [one for one in versions if one.version in version] or versions[:2]
        shown = [entry_json(one) for one in wanted[:_COMPARED]]
        return page(
            "compare.html",
            entry=next((entry_json(one) for one in versions if one.latest), shown[0]),
            shown=shown,
            rows=rows([one["card"] for one in shown]),
            versions=[_line(one) for one in versions[:_LISTED]],
            most=_COMPARED,
        )

    @router.get("/history", name="page-history")
    async def history(
        namespace: Namespace, name: Name, before: Annotated[int, Query(ge=0, le=2**62)] = 0
    ) -> Response:
        entry = await catalogue.get(Agent(namespace, name), None)
        lines = await catalogue.warden.trail(namespace, name, "", "", before or None, _LISTED)
        older = lines[-1].seq if len(lines) == _LISTED else 0
        return page("history.html", entry=entry_json(entry), lines=lines, older=older)

    @router.get("/{version}", name="page-version")
    async def version(request: Request, namespace: Namespace, name: Name, version: Version) -> Response:
        now = await shown_now(catalogue)
        if request.query_params.get("seen") == now.word:
            return Response(status_code=204)
        entry = await catalogue.get(Agent(namespace, name), version)
        versions = await catalogue.versions(entry.key.agent)
        told = entry_json(entry)
        return page(
            "agent.html",
            entry=told,
            card=told["card"],
            shown=now,
            versions=[_line(one) for one in versions[:_LISTED]],
            rollout=await catalogue.rollout(entry.key.agent),
            unlisted=max(0, len(versions) - _LISTED),
            most_skills=_SKILLS,
            itself=f"{path_of(namespace, name, version)}?seen={now.word}",
        )

    @router.get("/{version}/card", name="page-card")
    async def card(namespace: Namespace, name: Name, version: Version) -> Response:
        told = entry_json(await catalogue.get(Agent(namespace, name), version))
        return page("card.html", entry=told, card=told["card"])

    @router.get("/{version}/card.json", name="page-card-json")
    async def raw(namespace: Namespace, name: Name, version: Version) -> Response:
        told = entry_json(await catalogue.get(Agent(namespace, name), version))
        return Response(orjson.dumps(told["card"]), media_type="application/json")

    return router


def _line(entry: Stored) -> dict[str, Any]:
    """What the table of versions shows of one, without reading its card."""
    return {
        "version": entry.version,
        "latest": entry.latest,
        "health": entry.health,
        "instances": len(entry.instances),
        "updated": entry.updated,
    }
