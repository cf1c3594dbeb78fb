"""Rollout tables over HTTP: /v1/agents/{name}/rollout."""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from parley_registry.card import MAX_NAME, NAMESPACE
from parley_registry.entry import PUBLIC, Agent
from parley_registry.rollout import MAX_VERSIONS, Rollout, RolloutVersion, State, content_json
from parley_registry.routing import StrictRoute, answer, problems
from parley_registry.versions import MAX_VERSION

if TYPE_CHECKING:
    from parley_registry.catalogue import Catalogue

Name = Annotated[str, Path(min_length=1, max_length=MAX_NAME, examples=["coder"])]
Namespace = Annotated[str, Query(pattern=NAMESPACE)]


class RolloutVersionModel(BaseModel):
    """One version's part of the new contexts."""

    model_config = ConfigDict(extra="forbid")
    version: str = Field(min_length=1, max_length=MAX_VERSION, examples=["1.1.0"])
    state: State
    weight: float = Field(
        default=0,
        ge=0,
        le=100,
        strict=True,
        description="Per cent of the new contexts, at most two decimals.",
    )


class RolloutRequest(BaseModel):
    """A rollout table, and the revision of the one that it replaces."""

    model_config = ConfigDict(extra="forbid")
    versions: list[RolloutVersionModel] = Field(
        max_length=MAX_VERSIONS, description="Empty: contexts begin on whatever version a host serves."
    )
    paused: bool = Field(
        default=False,
        strict=True,
        description="Whether the weights stay as they are, but for a canary that does worse.",
    )
    expected: int = Field(
        ge=0, le=2**62, description="The revision that was read before; 0 when there was no table."
    )


class RolloutModel(BaseModel):
    """The rollout table of an agent."""

    namespace: str
    name: str
    versions: list[RolloutVersionModel]
    paused: bool
    revision: int


def router(catalogue: "Catalogue") -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1", tags=["rollouts"], route_class=StrictRoute)

    @router.get("/agents/{name}/rollout", response_model=RolloutModel, responses=problems(400, 404))
    async def rollout(name: Name, namespace: Namespace = PUBLIC) -> Response:
        """The rollout table of an agent; without versions and of revision 0 when none was set."""
        return answer(rollout_json(await catalogue.rollout(Agent(namespace, name))))

    @router.put(
        "/agents/{name}/rollout", response_model=RolloutModel, responses=problems(400, 404, 409, 413, 422)
    )
    async def set_rollout(name: Name, request: RolloutRequest, namespace: Namespace = PUBLIC) -> Response:
        """Replace the rollout table of an agent. 409 when it was changed since `expected`: read it again."""
        versions = tuple(RolloutVersion(one.version, one.state, one.weight) for one in request.versions)
        wanted = Rollout(namespace, name, versions, paused=request.paused)
        kept = await catalogue.set_rollout(wanted, request.expected)
        return answer(rollout_json(kept))

    return router


def rollout_json(rollout: Rollout) -> dict[str, Any]:
    """A table as JSON."""
    return {
        "namespace": rollout.namespace,
        "name": rollout.name,
        **content_json(rollout),
        "revision": rollout.revision,
    }
