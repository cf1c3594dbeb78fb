"""Trying an agent from a page: a message is sent for who looks at it, and the task that comes of it is watched.

A page's address names the task, so it can be closed, reloaded and passed on: a connection is not a task. Sending is one
SendStreamingMessage, of which the first word is waited for; from then on the task is followed by SubscribeToTask.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from parley_core.urlguard import Network
from parley_registry.catalogue import Catalogue
from parley_registry.entry import Agent
from parley_registry.errors import RegistryBusy, UnknownAgent
from parley_registry.models import entry_json
from parley_registry.pages.agent import Name, Namespace, Version
from parley_registry.pages.door import form_of
from parley_registry.pages.interfaces import CallFailed, TaskGone, interfaces_of
from parley_registry.pages.rendering import fragment, page, path_of
from parley_registry.pages.route import PageRoute
from parley_registry.pages.taskview import IMAGES, TaskView, parts_of
from parley_registry.pages.typed import message_of, part_of, skill_of, typed_modes

if TYPE_CHECKING:
    from parley_registry.pages.agentcall import AgentCall

MAX_TEXT = 64 * 1024
"""Characters of a message."""
MAX_SENDING = 8
"""Messages being sent at once."""
MAX_WATCHING = 32
"""Tasks being watched at once."""
_MAX_FORM = 4 * MAX_TEXT
_AGAIN_MS = 3000

TaskId = Annotated[str, Path(min_length=1, max_length=256)]
Via = Annotated[str, Query(max_length=32)]


class Trying:
    """The routes, and how many use them now."""

    def __init__(self, catalogue: Catalogue, allow: Sequence[Network]) -> None:
        """`allow` are the private addresses that agents may be called at even if no host here published them."""
        self._catalogue = catalogue
        self._allow = allow
        self._sending = 0
        self._watching = 0

    @property
    def router(self) -> APIRouter:
        """The routes below one version of an agent."""
        below = "/agents/{namespace}/{name}/{version}"
        router = APIRouter(prefix=below, include_in_schema=False, route_class=PageRoute)
        router.add_api_route("/try", self.form, name="page-try")
        router.add_api_route("/try", self.send, methods=["POST"], name="page-send")
        router.add_api_route("/tasks/{task_id}", self.task, name="page-task")
        router.add_api_route("/tasks/{task_id}/events", self.events, name="page-events")
        router.add_api_route("/tasks/{task_id}/file", self.file, name="page-file")
        router.add_api_route("/tasks/{task_id}/cancel", self.cancel, methods=["POST"], name="page-cancel")
        return router

    async def form(
        self,
        namespace: Namespace,
        name: Name,
        version: Version,
        skill: str = "",
        example: Annotated[int, Query(ge=-1, le=4096)] = -1,
    ) -> Response:
        """The form, with an example filled in if one is chosen."""
        entry = await self._entry(namespace, name, version)
        chosen = skill_of(entry["card"], skill)
        examples = (chosen or {}).get("examples", [])
        return self._form(entry, skill, text=examples[example] if 0 <= example < len(examples) else "")

    async def send(self, request: Request, namespace: Namespace, name: Name, version: Version) -> Response:
        """Send what was typed; leads to the page of the task, or is a page with the answer."""
        fields = await form_of(request, _MAX_FORM)
        entry = await self._entry(namespace, name, version)
        text, via = fields.get("text", ""), fields.get("via", "")
        kept = {"skill": fields.get("skill", ""), "text": text, "mode": fields.get("mode", ""), "via": via}
        if not text.strip() or len(text) > MAX_TEXT:
            return self._form(
                entry, **kept, status=400, fault=f"Write something, up to {MAX_TEXT} characters."
            )
        try:
            part = part_of(text, kept["mode"])
        except ValueError as error:
            return self._form(entry, **kept, status=400, fault=f"This is not valid JSON: {error}")
        if self._sending >= MAX_SENDING:
            raise RegistryBusy("too many messages are being sent from these pages; try again in a moment")
        self._sending += 1
        try:
            call = self._call(entry, via)
            answer = await call.send(message_of(part, fields))
        except CallFailed as error:
            return self._form(entry, **kept, status=502, fault=str(error))
        finally:
            self._sending -= 1
        if answer.HasField("message"):
            return page(
                "answer.html",
                entry=entry,
                text=text,
                part="parts",
                said=parts_of(answer.message),
                try_url=_below(entry, "try"),
            )
        task_id = answer.task.id or answer.status_update.task_id or answer.artifact_update.task_id
        return RedirectResponse(_task_url(entry, task_id, via), 303)

    async def task(
        self,
        namespace: Namespace,
        name: Name,
        version: Version,
        task_id: TaskId,
        via: Via = "",
        watch: str = "",
    ) -> Response:
        """A task as it is; the page goes on to watch it unless `watch` is "no"."""
        entry = await self._entry(namespace, name, version)
        view = TaskView(_context(entry, task_id, via, watching=watch != "no"))
        try:
            view.show(await self._call(entry, via).get(task_id))
        except CallFailed as error:
            status = 404 if isinstance(error, TaskGone) else 502
            return page(
                "error.html",
                status=status,
                title="This task cannot be shown",
                detail=f"{error} Its id is {task_id}.",
                faults=(),
            )
        return page(
            "task.html",
            entry=entry,
            task=view,
            part="page",
            events_url=_events_url(entry, task_id, via),
            **view.context,
        )

    async def events(
        self, namespace: Namespace, name: Name, version: Version, task_id: TaskId, via: Via = ""
    ) -> Response:
        """What happens to a task, as server-sent events with partials for its page; "done" when there is no more to come."""
        if self._watching >= MAX_WATCHING:
            raise RegistryBusy("too many tasks are being watched on these pages; try again later")
        entry = await self._entry(namespace, name, version)
        return EventSourceResponse(self._watch(entry, task_id, via), ping=10, send_timeout=30, sep="\n")

    async def _watch(
        self, entry: Mapping[str, Any], task_id: str, via: str
    ) -> AsyncGenerator[ServerSentEvent, None]:
        view = TaskView(_context(entry, task_id, via, watching=True))
        self._watching += 1
        try:
            async with aclosing(self._call(entry, via).follow(task_id)) as events:
                async for event in events:
                    for partial in view.take(event):
                        yield ServerSentEvent(partial)
                    if view.settled:
                        break
            if view.settled:
                yield ServerSentEvent(fragment("_task.html", part="end", task=view, **view.context))
                yield ServerSentEvent("", event="done")
        except TaskGone as error:
            yield ServerSentEvent(fragment("_task.html", part="lost", detail=str(error)))
            yield ServerSentEvent("", event="done")
        except CallFailed as error:
            detail = f"{error} The task may go on; looking again in a few seconds."
            yield ServerSentEvent(fragment("_task.html", part="lost", detail=detail), retry=_AGAIN_MS)
            await asyncio.sleep(_AGAIN_MS / 1000)
        finally:
            self._watching -= 1

    async def file(
        self,
        namespace: Namespace,
        name: Name,
        version: Version,
        task_id: TaskId,
        artifact: Annotated[str, Query(max_length=512)],
        part: Annotated[int, Query(ge=0, le=100_000)],
        via: Via = "",
    ) -> Response:
        """A file of a task, to be kept; never to be shown as a page, whatever it says it is."""
        entry = await self._entry(namespace, name, version)
        try:
            task = await self._call(entry, via).get(task_id)
        except CallFailed as error:
            return page(
                "error.html", status=502, title="This file cannot be had", detail=str(error), faults=()
            )
        for one in task.artifacts:
            if one.artifact_id == artifact and part < len(one.parts):
                media_type = one.parts[part].media_type.lower()
                return Response(
                    one.parts[part].raw,
                    media_type=media_type if media_type in IMAGES else "application/octet-stream",
                    headers={
                        "content-disposition": "attachment",
                        "content-security-policy": "sandbox; default-src 'none'",
                    },
                )
        raise UnknownAgent("the task has no such file (any more)")

    async def cancel(
        self, namespace: Namespace, name: Name, version: Version, task_id: TaskId, via: Via = ""
    ) -> Response:
        """Ask the agent to cancel a task; leads back to its page."""
        entry = await self._entry(namespace, name, version)
        try:
            await self._call(entry, via).cancel(task_id)
        except CallFailed as error:
            return page(
                "error.html", status=502, title="The task was not cancelled", detail=str(error), faults=()
            )
        return RedirectResponse(_task_url(entry, task_id, via), 303)

    async def _entry(self, namespace: str, name: str, version: str) -> dict[str, Any]:
        return entry_json(await self._catalogue.get(Agent(namespace, name), version))

    def _call(self, entry: Mapping[str, Any], via: str) -> "AgentCall":
        """Calls to the agent at the interface that an id names, at the first one for "". Raises CallFailed."""
        from parley_registry.pages.agentcall import AgentCall  # its client takes half a second to import

        for interface in interfaces_of(entry["card"]):
            if via in ("", interface.id):
                published = bool(entry["instances"]) and not entry["external"]
                return AgentCall(entry["card"], interface, published=published, allow=self._allow)
        raise CallFailed("The interface that this was sent to is not among the agent's any more.")

    def _form(
        self,
        entry: dict[str, Any],
        skill: str,
        *,
        text: str = "",
        mode: str = "",
        via: str = "",
        fault: str = "",
        status: int = 200,
    ) -> Response:
        chosen = skill_of(entry["card"], skill)
        return page(
            "try.html",
            status=status,
            entry=entry,
            skills=entry["card"].get("skills", [])[:100],
            skill=chosen,
            text=text,
            mode=mode,
            via=via,
            fault=fault,
            modes=typed_modes(entry["card"], chosen),
            interfaces=interfaces_of(entry["card"]),
            try_url=_below(entry, "try"),
            max_text=MAX_TEXT,
        )


def _below(entry: Mapping[str, Any], *rest: str) -> str:
    return path_of(entry["namespace"], entry["name"], entry["version"], *rest)


def _task_url(entry: Mapping[str, Any], task_id: str, via: str, rest: str = "") -> str:
    return f"{_below(entry, 'tasks', task_id, *([rest] if rest else []))}?{urlencode({'via': via})}"


def _events_url(entry: Mapping[str, Any], task_id: str, via: str) -> str:
    return _task_url(entry, task_id, via, "events")


def _context(entry: Mapping[str, Any], task_id: str, via: str, *, watching: bool) -> dict[str, Any]:
    """What the templates of a task need besides it."""

    def file_url(artifact_id: str, part: int) -> str:
        told = urlencode({"artifact": artifact_id, "part": part})
        return f"{_task_url(entry, task_id, via, 'file')}&{told}"

    return {
        "file_url": file_url,
        "task_url": _task_url(entry, task_id, via),
        "cancel_url": _task_url(entry, task_id, via, "cancel"),
        "try_url": _below(entry, "try"),
        "via": via,
        "watching": watching,
    }
