"""Prompts over HTTP: /v1/prompts…"""

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from parley_registry.card import MAX_NAME, NAMESPACE
from parley_registry.entry import PUBLIC
from parley_registry.prompts.check import PROMPT_NAME, check_prompt
from parley_registry.prompts.library import PromptLibrary
from parley_registry.prompts.prompt import PRODUCTION, AgentVersion, PromptKey
from parley_registry.prompts.wire import prompt_json, version_json
from parley_registry.routing import StrictRoute, answer, problems
from parley_registry.versions import MAX_VERSION

MAX_PAGE = 200

Name = Annotated[str, Path(pattern=PROMPT_NAME, examples=["review"])]
Version = Annotated[str, Path(min_length=1, max_length=MAX_VERSION, examples=["1.2.0"])]
Label = Annotated[str, Path(min_length=1, max_length=64, examples=["production"])]
Namespace = Annotated[str, Query(pattern=NAMESPACE)]
AgentName = Annotated[str, Query(max_length=MAX_NAME, examples=["coder"])]
VersionOfAgent = Annotated[str, Query(max_length=MAX_VERSION, examples=["2.0.0"])]


class VersionRequest(BaseModel):
    """The version of the prompt that is meant from now on."""

    model_config = ConfigDict(extra="forbid")
    version: str = Field(min_length=1, max_length=MAX_VERSION)


class VariableModel(BaseModel):
    name: str
    description: str
    required: bool
    default: str = Field("", description="Only of a variable that is not required.")


class PromptVersionModel(BaseModel):
    """One version of a prompt; it never changes."""

    namespace: str
    name: str
    version: str
    template: str = Field(description="`{{name}}` stands for a value; at most 64 KiB.")
    variables: list[VariableModel]
    description: str
    hints: dict[str, Any] = Field(description="Free metadata, as the model that it was written for.")
    author: str
    created: float
    digest: str


class VersionNoteModel(BaseModel):
    version: str
    digest: str
    description: str
    author: str
    created: float


class BindingModel(BaseModel):
    """An agent version and the version of the prompt that it gets, whatever label it asks for."""

    agent: str
    agentVersion: str
    version: str


class PromptModel(BaseModel):
    """A prompt: its versions, highest first, and who gets which."""

    namespace: str
    name: str
    description: str = Field(description="That of the latest version.")
    latest: str
    versions: list[VersionNoteModel]
    labels: dict[str, str]
    bindings: list[BindingModel]
    revision: int
    updated: float


class PromptPageModel(BaseModel):
    prompts: list[PromptModel]
    next: str = Field(description='Cursor of the next page, or "".')


def prompt_routes(prompts: PromptLibrary, changed: Callable[[], None]) -> APIRouter:
    """The routes over `prompts`; `changed` is called after each change."""
    router = APIRouter(prefix="/v1", tags=["prompts"], route_class=StrictRoute)

    @router.get("/prompts", response_model=PromptPageModel, responses=problems(400))
    async def list_prompts(
        text: Annotated[str, Query(max_length=256)] = "",
        namespace: Annotated[str, Query(max_length=64)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
        cursor: Annotated[str, Query(max_length=1024)] = "",
    ) -> Response:
        """Prompts by namespace and name, with every word of `text` in name or description."""
        page = await prompts.list(namespace, text, limit, cursor)
        return answer({"prompts": [prompt_json(one) for one in page.prompts], "next": page.next})

    @router.post(
        "/prompts",
        response_model=PromptVersionModel,
        responses={
            201: {"model": PromptVersionModel, "description": "A new version."},
            **problems(400, 409, 413, 422),
        },
    )
    async def push_prompt(told: Annotated[dict[str, Any], Body()]) -> Response:
        """Keep a version of a prompt, and have `labels` point to it. The same version again is the same (200)."""
        version, labels = check_prompt(told, now=time.time())
        done = await prompts.push(version, labels)
        changed()
        return answer(version_json(done.version), 201 if done.created else 200)

    @router.get("/prompts/{name}", response_model=PromptModel, responses=problems(400, 404))
    async def get_prompt(name: Name, namespace: Namespace = PUBLIC) -> Response:
        """A prompt: versions, labels, bindings, without texts."""
        return answer(prompt_json(await prompts.get(PromptKey(namespace, name))))

    @router.delete("/prompts/{name}", status_code=204, responses=problems(400, 404))
    async def delete_prompt(name: Name, namespace: Namespace = PUBLIC) -> Response:
        """Delete a prompt with all its versions, labels and bindings."""
        await prompts.delete(PromptKey(namespace, name))
        changed()
        return Response(status_code=204)

    @router.get("/prompts/{name}/chosen", response_model=PromptVersionModel, responses=problems(400, 404))
    async def chosen_version(
        name: Name,
        namespace: Namespace = PUBLIC,
        label: Annotated[str, Query(max_length=64)] = PRODUCTION,
        agent: AgentName = "",
        agentVersion: VersionOfAgent = "",
    ) -> Response:
        """The version that an agent version gets when it asks for a label: what it is bound to, else the label's."""
        key = PromptKey(namespace, name)
        prompt = await prompts.get(key)
        found = prompt.chosen(label, AgentVersion(agent, agentVersion) if agent else None)
        return answer(version_json(await prompts.version(key, found)))

    @router.get(
        "/prompts/{name}/versions/{version}", response_model=PromptVersionModel, responses=problems(400, 404)
    )
    async def get_prompt_version(name: Name, version: Version, namespace: Namespace = PUBLIC) -> Response:
        """One version of a prompt in full."""
        return answer(version_json(await prompts.version(PromptKey(namespace, name), version)))

    @router.delete("/prompts/{name}/versions/{version}", status_code=204, responses=problems(400, 404, 409))
    async def delete_prompt_version(name: Name, version: Version, namespace: Namespace = PUBLIC) -> Response:
        """Delete a version; not while a label or an agent version names it."""
        await prompts.delete(PromptKey(namespace, name), version)
        changed()
        return Response(status_code=204)

    @router.put(
        "/prompts/{name}/labels/{label}", response_model=PromptModel, responses=problems(400, 404, 413, 422)
    )
    async def set_label(
        name: Name, label: Label, request: VersionRequest, namespace: Namespace = PUBLIC
    ) -> Response:
        """Have a label point to a version."""
        done = await prompts.label(PromptKey(namespace, name), label, request.version)
        changed()
        return answer(prompt_json(done))

    @router.delete(
        "/prompts/{name}/labels/{label}", response_model=PromptModel, responses=problems(400, 404, 422)
    )
    async def remove_label(name: Name, label: Label, namespace: Namespace = PUBLIC) -> Response:
        """Take a label away; one that is not there is no error."""
        done = await prompts.unlabel(PromptKey(namespace, name), label)
        changed()
        return answer(prompt_json(done))

    @router.put(
        "/prompts/{name}/bindings", response_model=PromptModel, responses=problems(400, 404, 413, 422)
    )
    async def set_binding(
        name: Name,
        agent: AgentName,
        agentVersion: VersionOfAgent,
        request: VersionRequest,
        namespace: Namespace = PUBLIC,
    ) -> Response:
        """Give an agent version a version of its own, which goes before every label."""
        who = AgentVersion(agent, agentVersion)
        done = await prompts.bind(PromptKey(namespace, name), who, request.version)
        changed()
        return answer(prompt_json(done))

    @router.delete("/prompts/{name}/bindings", response_model=PromptModel, responses=problems(400, 404, 422))
    async def remove_binding(
        name: Name, agent: AgentName, agentVersion: VersionOfAgent, namespace: Namespace = PUBLIC
    ) -> Response:
        """Take that away; what is not there is no error."""
        done = await prompts.unbind(PromptKey(namespace, name), AgentVersion(agent, agentVersion))
        changed()
        return answer(prompt_json(done))

    return router
