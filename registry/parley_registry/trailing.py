"""Owners and the audit trail over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from parley_registry import models
from parley_registry.audit import Audited
from parley_registry.card import MAX_NAME, NAMESPACE
from parley_registry.catalogue import Catalogue
from parley_registry.entry import PUBLIC, Agent
from parley_registry.models import entry_json
from parley_registry.routing import StrictRoute, answer, problems

MAX_LINES = 1000
"""Lines of the trail in one answer."""
MAX_OWNER = 1024

Name = Annotated[str, Path(min_length=1, max_length=MAX_NAME, examples=["coder"])]
Namespace = Annotated[str, Query(pattern=NAMESPACE)]


class OwnerRequest(BaseModel):
    """To whom an agent is handed over."""

    model_config = ConfigDict(extra="forbid")
    owner: str = Field(
        max_length=MAX_OWNER,
        description='Issuer and subject with | between, as an entry shows its owner; "" for nobody.',
        examples=["https://issuer.example.com|ann"],
    )


class LineModel(BaseModel):
    """One line of the trail."""

    seq: int
    at: float = Field(description="In seconds since the epoch.")
    actor: str = Field(
        description='Who did it; "" where nobody has to say who they are, and for the registry itself.'
    )
    remote: str = Field(description="The address that the call came from.")
    action: str = Field(description="publish, latest, delete, owner, rollout, refused …")
    namespace: str
    name: str
    version: str
    before: str = Field(description="What was there: a digest, a version, an owner, a table.")
    after: str
    detail: str


class TrailModel(BaseModel):
    lines: list[LineModel] = Field(description="Newest first.")
    next: int = Field(description="`before` of the page that follows; 0 after the last.")


def trail_routes(catalogue: Catalogue) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["trust"], route_class=StrictRoute)

    @router.put(
        "/agents/{name}/owner", response_model=models.EntryModel, responses=problems(400, 403, 404, 413)
    )
    async def hand_over(name: Name, request: OwnerRequest, namespace: Namespace = PUBLIC) -> Response:
        """Hand an agent over to another owner: its owner may, and admins of the name."""
        agent = Agent(namespace, name)
        await catalogue.transfer(agent, request.owner)
        return answer(entry_json(await catalogue.get(agent, None)))

    @router.get("/audit", response_model=TrailModel, responses=problems(400, 403))
    async def trail(
        namespace: Annotated[str, Query(max_length=64)] = "",
        name: Annotated[str, Query(max_length=MAX_NAME)] = "",
        actor: Annotated[str, Query(max_length=MAX_OWNER)] = "",
        action: Annotated[str, Query(max_length=64)] = "",
        before: Annotated[int, Query(ge=0, le=2**62)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_LINES)] = 100,
    ) -> Response:
        """Who changed what, newest first: of a name for its owner, of all for admins. A name without a namespace is
        one in the public namespace."""
        where = namespace or (PUBLIC if name else "")
        lines = await catalogue.warden.trail(where, name, actor, action, before or None, limit)
        following = lines[-1].seq if len(lines) == limit else 0
        return answer({"lines": [line_json(one) for one in lines], "next": following})

    return router


def line_json(line: Audited) -> dict[str, Any]:
    """A line as JSON."""
    return {name: getattr(line, name) for name in Audited.__slots__}
