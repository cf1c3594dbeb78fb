"""A front that answers from a script, behind the real bindings on a real server."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from parley_core.identity import Anonymous
from parley_runtime.bindings.app import App, build_app
from parley_runtime.bindings.card import interfaces
from parley_runtime.store import LoggedEvent


def example_card() -> pb.AgentCard:
    """A card that claims everything."""
    return pb.AgentCard(
        name="scripted",
        description="answers from a script",
        version="1.0.0",
        supported_interfaces=interfaces("http://127.0.0.1:9999"),
        capabilities=pb.AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="s", name="s", description="s", tags=["t"])],
    )


def task(task_id: str = "t-1", state: int = pb.TASK_STATE_WORKING) -> pb.Task:
    """A small task."""
    return pb.Task(id=task_id, context_id="c-1", status=pb.TaskStatus(state=state))  # type: ignore[arg-type]


def event(generation: int, message: pb.Task | pb.TaskStatusUpdateEvent | None = None) -> LoggedEvent:
    """A logged event, the way the store keeps it."""
    kind = "statusUpdate" if isinstance(message, pb.TaskStatusUpdateEvent) else "task"
    body = orjson.dumps({kind: MessageToDict(message or task())})
    return LoggedEvent(generation, body, pb.TASK_STATE_WORKING, 0.0, 1)


class ScriptedFront(RequestHandler):
    """Answers every call with `answer`, or by raising it when it is an exception; streams `script`."""

    def __init__(self) -> None:
        self.card = example_card()
        self.extended_card: pb.AgentCard | None = None
        self.answer: Any = task()
        self.script: list[Sequence[LoggedEvent] | Exception] = []
        self.hold = False
        self.calls: list[tuple[str, Any, ServerCallContext, int | None]] = []
        self.closed = asyncio.Event()

    def _say(self, name: str, params: Any, context: ServerCallContext, after: int | None = None) -> Any:
        self.calls.append((name, params, context, after))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def on_message_send(self, params: Any, context: ServerCallContext) -> Any:
        return self._say("SendMessage", params, context)

    async def on_get_task(self, params: Any, context: ServerCallContext) -> Any:
        return self._say("GetTask", params, context)

    async def on_list_tasks(self, params: Any, context: ServerCallContext) -> Any:
        return self._say("ListTasks", params, context)

    async def on_cancel_task(self, params: Any, context: ServerCallContext) -> Any:
        return self._say("CancelTask", params, context)

    async def on_create_task_push_notification_config(self, params: Any, context: ServerCallContext) -> Any:
        return self._say("CreateTaskPushNotificationConfig", params, context)

    async def on_get_task_push_notification_config(self, params: Any, context: ServerCallContext) -> Any:
        return self._say("GetTaskPushNotificationConfig", params, context)

    async def on_list_task_push_notification_configs(self, params: Any, context: ServerCallContext) -> Any:
        return self._say("ListTaskPushNotificationConfigs", params, context)

    async def on_delete_task_push_notification_config(self, params: Any, context: ServerCallContext) -> None:
        self._say("DeleteTaskPushNotificationConfig", params, context)

    async def on_get_extended_agent_card(self, params: Any, context: ServerCallContext) -> Any:
        return self._say("GetExtendedAgentCard", params, context)

    async def send_stream(
        self, params: Any, context: ServerCallContext, after: int | None
    ) -> AsyncIterator[Sequence[LoggedEvent]]:
        self._say("SendStreamingMessage", params, context, after)
        return self._play()

    async def subscribe_stream(
        self, params: Any, context: ServerCallContext, after: int | None
    ) -> AsyncIterator[Sequence[LoggedEvent]]:
        self._say("SubscribeToTask", params, context, after)
        return self._play()

    async def on_message_send_stream(
        self, params: Any, context: ServerCallContext
    ) -> AsyncGenerator[Any, None]:
        self._say("SendStreamingMessage", params, context, context.state.get("after"))
        for item in self.script:
            if isinstance(item, Exception):
                raise item
            yield task()

    on_subscribe_to_task = on_message_send_stream

    async def _play(self) -> AsyncGenerator[Sequence[LoggedEvent], None]:
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                yield item
            if self.hold:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


@dataclass
class Served:
    """A scripted front on a real port."""

    front: ScriptedFront
    app: App
    url: str
    client: httpx.AsyncClient = field(repr=False)

    async def rpc(self, method: str, params: Any = None, **more: Any) -> httpx.Response:
        """Send one JSON-RPC request of protocol 1.0."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}} | more
        return await self.client.post(
            "/a2a/jsonrpc", content=orjson.dumps(body), headers={"content-type": "application/json"}
        )


async def _page(request: Request) -> Response:
    return PlainTextResponse("ok")


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The base URL of an app served by uvicorn on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        free.listen(128)
        port = free.getsockname()[1]
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve([free]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has nothing to wait on
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await running


@pytest.fixture
def build() -> Callable[..., App]:
    """Build the app of a scripted front, with what the host would give replaced by plain pages."""

    def make(front: Any, authenticator: Any = None, **settings: Any) -> App:
        return build_app(
            front, authenticator or Anonymous(), healthz=_page, readyz=_page, metrics=_page, **settings
        )

    return make


@pytest.fixture
async def served(build: Callable[..., App]) -> AsyncIterator[Served]:
    """A scripted front behind the real bindings."""
    front = ScriptedFront()
    app = build(front, keep_alive=0.2, max_body_bytes=100_000)
    async with serving(app) as url:
        async with httpx.AsyncClient(base_url=url, headers={"A2A-Version": "1.0"}, timeout=10) as client:
            yield Served(front, app, url, client)
