"""The first page: all agents, searched and narrowed down."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from parley_registry.catalogue import Catalogue
from parley_registry.errors import BadRequest, Fault
from parley_registry.models import page_json
from parley_registry.pages.facetlinks import asked, facets_of, query_of, url_of
from parley_registry.pages.fresh import shown_now
from parley_registry.pages.rendering import page
from parley_registry.pages.route import PageRoute
from parley_registry.searching.query import MAX_TEXT

_PAGE = 25
_RECOUNTED = 4
"""Facets asked for whose other values are counted again."""


def listing(catalogue: Catalogue) -> APIRouter:
    """The route of the first page. With `seen`, the word for what a page shows, it is answered 204 until
    there is something else to show; so an open page asks every few seconds at next to no cost."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/", name="page-list")
    async def agents(request: Request) -> Response:
        parameters = request.query_params
        now = await shown_now(catalogue)
        if parameters.get("seen") == now.word:
            return Response(status_code=204)
        criteria = asked(parameters.multi_items())
        faults = [
            Fault(name, f"is longer than {MAX_TEXT} characters; shorten it")
            for name, values in criteria.items()
            if any(len(value) > MAX_TEXT for value in values)
        ]
        if faults:
            raise BadRequest("the search cannot be read", tuple(faults))
        cursor = parameters.get("cursor", "")
        found = page_json(await catalogue.find(query_of(criteria), _PAGE, cursor))
        for name in [one for one in criteria if one in found["facets"]][:_RECOUNTED]:
            without = {one: values for one, values in criteria.items() if one != name}
            found["facets"][name] = (await catalogue.find(query_of(without), 1, "")).facets[name]
        older = {one: values for one, values in criteria.items() if one != "versions"}
        return page(
            "list.html",
            text=criteria.get("text", ("",))[0],
            older=url_of(older if "versions" in criteria else {**older, "versions": ("all",)}),
            with_older="versions" in criteria,
            hidden=[(name, value) for name, values in criteria.items() for value in values if name != "text"],
            found=found,
            shown=now,
            base=str(request.base_url).rstrip("/"),
            facets=facets_of(criteria, found["facets"]),
            first=url_of(criteria) if cursor else "",
            following=url_of(criteria, cursor=found["next"]) if found["next"] else "",
            itself=url_of(criteria, cursor=cursor, seen=now.word),
        )

    return router
