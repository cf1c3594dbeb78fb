"""All pages together, as the service takes them in."""

from fastapi import FastAPI

from parley_core.hostguard import is_loopback
from parley_core.identity import Authenticator
from parley_registry.catalogue import Catalogue
from parley_registry.pages.agent import agent_pages
from parley_registry.pages.door import PageDoor
from parley_registry.pages.listing import listing
from parley_registry.pages.prompting import prompt_pages
from parley_registry.pages.serving import mcp_pages
from parley_registry.pages.trying import Trying
from parley_registry.settings import LOOPBACK, RegistrySettings


def install(
    app: FastAPI, catalogue: Catalogue, authenticator: Authenticator, settings: RegistrySettings
) -> None:
    """Add the pages to a service. To be called after the middleware that asks who calls has been added, before that
    which looks at the Host header."""
    app.include_router(listing(catalogue))
    app.include_router(agent_pages(catalogue))
    app.include_router(prompt_pages(catalogue.prompts))
    app.include_router(mcp_pages(catalogue.mcp))
    allow = settings.allow + (LOOPBACK if is_loopback(settings.listen) else ())
    app.include_router(Trying(catalogue, allow).router)
    app.add_middleware(PageDoor, authenticator=authenticator)
