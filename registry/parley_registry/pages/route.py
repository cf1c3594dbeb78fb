"""What all pages have in common: an error is a page, too."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute

from parley_core.errors import Unavailable
from parley_registry.errors import RegistryError
from parley_registry.pages.rendering import error_page


class PageRoute(APIRoute):
    """A route whose refusals and failures are told as pages, with the status they have in the API."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except RegistryError as error:
                return error_page(error.status, HTTPStatus(error.status).phrase, error.summary, error.faults)
            except RequestValidationError:
                return error_page(404, "Not found", "There is no such page; begin at the list of agents.")
            except Unavailable as error:
                return error_page(503, "Not now", f"{error}; try again in a moment")

        return told
