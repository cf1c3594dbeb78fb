"""The pages of prompts: those there are, the versions of one with its labels, the text of a version."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from parley_registry.card import MAX_NAME, NAMESPACE
from parley_registry.pages.rendering import page
from parley_registry.pages.route import PageRoute
from parley_registry.prompts.library import PromptLibrary
from parley_registry.prompts.prompt import PromptKey
from parley_registry.prompts.wire import prompt_json, version_json
from parley_registry.searching.query import MAX_TEXT
from parley_registry.versions import MAX_VERSION

Namespace = Annotated[str, Path(pattern=NAMESPACE)]
Name = Annotated[str, Path(min_length=1, max_length=MAX_NAME)]

_PAGE = 50
_LISTED = 100


def prompt_pages(prompts: PromptLibrary) -> APIRouter:
    """The routes of the prompts' pages."""
    router = APIRouter(prefix="/prompts", include_in_schema=False, route_class=PageRoute)

    @router.get("", name="page-prompts")
    async def listed(
        text: Annotated[str, Query(max_length=MAX_TEXT)] = "",
        cursor: Annotated[str, Query(max_length=2048)] = "",
    ) -> Response:
        found = await prompts.list("", text, _PAGE, cursor)
        return page(
            "prompts.html",
            text=text,
            prompts=[prompt_json(one) for one in found.prompts],
            following=found.next,
        )

    @router.get("/{namespace}/{name}", name="page-prompt")
    async def prompt(
        namespace: Namespace, name: Name, version: Annotated[str, Query(max_length=MAX_VERSION)] = ""
    ) -> Response:
        key = PromptKey(namespace, name)
        found = await prompts.get(key)
        shown = version or found.latest
        return page(
            "prompt.html",
            prompt=prompt_json(found),
            shown=version_json(await prompts.version(key, shown)),
            most=_LISTED,
        )

    return router
