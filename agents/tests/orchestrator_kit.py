"""A team to orchestrate: plain a2a-sdk servers on sockets whose agents do what a test tells them to."""

import asyncio
import contextlib
import json
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakSet

import httpx
import uvicorn
from a2a.client import ClientConfig, ClientFactory
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict
from repositories import repository, write
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount

from engines.ports import free_port
from parley_agents.artifacts import (
    CHANGE,
    DIFF,
    GIT_BUNDLE,
    JUNIT,
    PLAN,
    REQUEST,
    SARIF,
    SKILL_DELIVER,
    SKILL_EDIT,
    SKILL_PLAN,
    SKILL_REVIEW,
    SKILL_TEST,
    TESTS,
    Change,
    Plan,
    StepRequest,
    TestReport,
    Verdict,
)
from parley_agents.orchestrator import Orchestrator
from parley_agents.orchestrator.settings import OrchestratorSettings
from parley_agents.snapshot import Snapshot, snapshot
from parley_agents.workspace import open_workspace
from parley_registry.client import Instance, RegistryClient
from parley_registry.service import create_app
from parley_registry.settings import RegistrySettings
from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings

FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n", "c.py": "c = 1\n"}


# -- servers

_SERVERS: WeakSet[uvicorn.Server] = WeakSet()


@contextlib.asynccontextmanager
async def serving(app: Any, *, lifespan: bool = False) -> AsyncIterator[str]:
    """An ASGI app on a free port of this machine; its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, lifespan="on" if lifespan else "off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    _SERVERS.add(server)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(60):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = not lifespan
        await task
        listener.close()


Behaviour = Callable[["Call"], Awaitable[None]]


@dataclass
class CallFaults:
    """Fault injection in front of an app: `before(path, method name, number of the call)` may answer instead of it,
    and streams are cut after `cut_after` events (resumed ones after `cut_resumed`), `cuts` times."""

    before: Callable[[str, int], Response | None] = lambda method, number: None
    cut_after: int = 0
    cut_resumed: int = 0
    cuts: int = 0
    seen: list[str] = field(default_factory=list)

    def __call__(self, app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or scope["method"] != "POST":
                return await app(scope, receive, send)
            body = await Request(scope, receive).body()
            method = json.loads(body)["method"]
            self.seen.append(method)
            instead = self.before(method, self.seen.count(method))
            if instead is not None:
                return await instead(scope, receive, send)

            async def again() -> dict[str, Any]:
                if not body_sent:
                    body_sent.append(True)
                    return {"type": "http.request", "body": body, "more_body": False}
                return dict(await receive())

            body_sent: list[bool] = []
            cutting = method in ("SendStreamingMessage", "SubscribeToTask") and self.cuts > 0
            self.cuts -= cutting
            after = self.cut_resumed if method == "SubscribeToTask" else self.cut_after
            await app(scope, again, _cut(send, after) if cutting else send)

        return wrapped


def _cut(send: Any, after: int) -> Any:
    chunks = 0

    async def cut(event: dict[str, Any]) -> None:
        nonlocal chunks
        if event["type"] == "http.response.body" and event.get("body", b"").strip():
            chunks += 1
            if chunks > after:
                raise ConnectionResetError("cut by the test")
        await send(event)

    return cut


@dataclass
class Call:
    """One execution of a scripted agent."""

    context: RequestContext
    queue: EventQueue
    updater: TaskUpdater
    agent: "ScriptedAgent"

    @property
    def number(self) -> int:
        """How often the agent has been asked, this time included."""
        return len(self.agent.calls)

    @property
    def request(self) -> StepRequest:
        """The StepRequest that came with the message (or with the task's first one)."""
        messages = [self.context.message]
        if self.context.current_task:
            messages += list(self.context.current_task.history)
        for message in messages:
            for part in message.parts if message else ():
                if part.media_type == REQUEST:
                    return StepRequest.model_validate(MessageToDict(part.data))
        raise AssertionError("no request came along")

    @property
    def bundles(self) -> list[bytes]:
        assert self.context.message
        return [part.raw for part in self.context.message.parts if part.media_type == GIT_BUNDLE]

    async def start(self) -> None:
        """Show the task, working."""
        task = pb.Task(id=self.context.task_id or "", context_id=self.context.context_id or "")
        task.status.state = pb.TASK_STATE_WORKING
        assert self.context.message
        task.history.append(self.context.message)
        await self.queue.enqueue_event(task)

    async def say(self, text: str) -> None:
        await self.updater.update_status(pb.TASK_STATE_WORKING, self.words(text))

    def words(self, text: str) -> pb.Message:
        return self.updater.new_agent_message([pb.Part(text=text)])


class ScriptedAgent(AgentExecutor):
    """An agent that does what `behaviour` says, and remembers what it was asked."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.calls: list[pb.Message] = []
        self.worked_on: list[tuple[str, str, int]] = []
        self.name = ""
        self.cancelled: list[str] = []
        self.cancel_after = 0.0

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message
        self.calls.append(context.message)
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        call = Call(context, event_queue, updater, self)
        self.worked_on.append((self.name, call.request.step.id, call.request.round))
        await self.behaviour(call)

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await asyncio.sleep(self.cancel_after)
        self.cancelled.append(context.task_id or "")
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def card(name: str, skill: str, *, streaming: bool = True, push: bool = False) -> pb.AgentCard:
    """A card with one skill, without an address."""
    return pb.AgentCard(
        name=name,
        description=f"{name} for tests",
        version="1.0.0",
        capabilities=pb.AgentCapabilities(streaming=streaming, push_notifications=push),
        default_input_modes=["text/plain", REQUEST, GIT_BUNDLE],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id=skill, name=skill, description=skill, tags=["test"])],
    )


Wrap = Callable[[Any], Any]


@contextlib.asynccontextmanager
async def agent_server(
    executor: AgentExecutor,
    about: pb.AgentCard,
    wrap: Wrap = lambda app: app,
    routes: Sequence[BaseRoute] = (),
    **handler: Any,
) -> AsyncIterator[pb.AgentCard]:
    """A plain a2a-sdk server; the card with its address. `wrap` puts faults around the app."""
    app = Starlette(routes=[Mount("/agent", routes=list(routes))])
    async with serving(wrap(app)) as url:
        about.supported_interfaces.add(
            url=f"{url}/a2a/jsonrpc", protocol_binding="JSONRPC", protocol_version="1.0"
        )
        server = DefaultRequestHandler(executor, InMemoryTaskStore(), about, **handler)
        app.router.routes += create_agent_card_routes(about)
        app.router.routes += create_jsonrpc_routes(server, "/a2a/jsonrpc")
        yield about


@contextlib.asynccontextmanager
async def durable_server(
    executor: AgentExecutor, about: pb.AgentCard, store: Path, wrap: Wrap
) -> AsyncIterator[pb.AgentCard]:
    """The same on a Parley host, which knows a message that it had before."""
    store.parent.mkdir(exist_ok=True)
    port = free_port()
    settings = HostSettings(listen=f"127.0.0.1:{port}", store=f"sqlite:///{store}")
    host = AgentHost(about, executor, settings)
    config = uvicorn.Config(
        wrap(host.app), host="127.0.0.1", port=port, log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    _SERVERS.add(server)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started, "the host is up")
        yield host.card
    finally:
        server.should_exit = True
        await task


# -- the work of a scripted team


def plan_of(*steps: tuple[str, Sequence[str]], skill: str = SKILL_EDIT) -> Plan:
    """A plan of edit steps: (id, what it needs)."""
    made = [
        {
            "id": name,
            "title": f"Edit {name}",
            "skill": skill,
            "instructions": f"edit {name}",
            "needs": list(needs),
        }
        for name, needs in steps
    ]
    return Plan.model_validate({"goal": "test", "engine": "script", "steps": made})


def plans(plan: Plan) -> Behaviour:
    """A planner that always has the same plan."""

    async def behave(call: Call) -> None:
        await call.start()
        await call.updater.add_artifact(
            [pb.Part(text=plan.model_dump_json(), media_type=PLAN)], name="plan.json"
        )
        await call.updater.complete()

    return behave


Edit = Callable[[StepRequest], Mapping[str, str]]


def codes(edit: Edit) -> Behaviour:
    """A coder that writes the files `edit` says."""

    async def behave(call: Call) -> None:
        await call.start()
        await call.say(f"editing for {call.request.step.id}")
        await deliver_change(call, edit(call.request))

    return behave


async def deliver_change(call: Call, files: Mapping[str, str]) -> None:
    """Commit `files` on the base and complete with the change."""
    request = call.request
    assert request.base
    async with open_workspace(request.base.commit, call.bundles) as work:
        write(work.path, dict(files))
        commit = await work.record(f"{request.step.title}\n")
        change = Change(
            step=request.step.id,
            base=request.base.commit,
            commit=commit,
            title=request.step.title,
            summary=f"round {request.round}",
            engine="script",
            files=await work.changes(request.base.commit, commit),
        )
        parts = [pb.Part(text=change.model_dump_json(), media_type=CHANGE)]
        if commit != request.base.commit:
            bundle = await work.bundle(commit, request.base.commit)
            diff = await work.diff(request.base.commit, commit)
            parts += [
                pb.Part(raw=bundle, media_type=GIT_BUNDLE, filename=f"{commit}.bundle"),
                pb.Part(text=diff, media_type=DIFF),
            ]
    await call.updater.add_artifact(parts, name="change")
    await call.updater.complete()


def append_own_file(request: StepRequest) -> Mapping[str, str]:
    """The edit of most tests: step `a` writes a.py, and so on."""
    return {f"{request.step.id}.py": f"{request.step.id} = 2\n"}


Judge = Callable[[StepRequest, Mapping[str, str]], str]
"""Objection to the files of a change, or "" for none."""


async def changed_files(call: Call) -> dict[str, str]:
    request = call.request
    assert request.change
    async with open_workspace(request.change.commit, call.bundles) as work:
        return {path: (work.path / path).read_text() for path in await work.files()}


def reviews(judge: Judge = lambda request, files: "") -> Behaviour:
    """A reviewer that objects where `judge` does."""

    async def behave(call: Call) -> None:
        await call.start()
        objection = judge(call.request, await changed_files(call))
        verdict = Verdict(
            verdict="request-changes" if objection else "approve",
            summary=objection or "fine",
            findings=1 if objection else 0,
        )
        result = {
            "ruleId": "TEST",
            "message": {"text": objection},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": "a.py"}}}],
        }
        sarif = {
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {"driver": {"name": "script"}},
                    "results": [result] if objection else [],
                    "properties": {"parley": verdict.model_dump()},
                }
            ],
        }
        await call.updater.add_artifact([pb.Part(text=json.dumps(sarif), media_type=SARIF)], name="review")
        await call.updater.complete()

    return behave


def runs_tests(judge: Judge = lambda request, files: "", verdict: str = "") -> Behaviour:
    """A tester that finds broken what `judge` says, or always answers `verdict`."""

    async def behave(call: Call) -> None:
        await call.start()
        objection = judge(call.request, await changed_files(call))
        report = TestReport(
            verdict=verdict or ("broken" if objection else "passed"),  # type: ignore[arg-type]
            summary=objection or "all fine",
            sandbox="none",
            passed=1,
        )
        await call.updater.add_artifact(
            [
                pb.Part(text=report.model_dump_json(), media_type=TESTS),
                pb.Part(text="<testsuites/>", media_type=JUNIT),
            ],
            name="tests",
        )
        await call.updater.complete()

    return behave


# -- registry and orchestrator


@dataclass
class Scene:
    """Running agents, a registry that knows them, and an orchestrator to talk to."""

    stack: contextlib.AsyncExitStack
    durable: Path | None = None
    """Where the stores of the agents are, when they are to run on Parley hosts; else they are plain a2a-sdk."""
    settings: dict[str, Any] = field(default_factory=dict)
    agents: dict[str, ScriptedAgent] = field(default_factory=dict)
    cards: list[pb.AgentCard] = field(default_factory=list)
    health: dict[str, str] = field(default_factory=dict)
    registry_url: str = ""

    async def add(
        self,
        name: str,
        skill: str,
        behaviour: Behaviour,
        *,
        health: str = "up",
        streaming: bool = True,
        push: bool = False,
        wrap: Wrap = lambda app: app,
        **handler: Any,
    ) -> ScriptedAgent:
        """Start an agent and register it."""
        agent = self.agents[name] = ScriptedAgent(behaviour)
        agent.name = name
        about = card(name, skill, streaming=streaming, push=push)
        if self.durable:
            made = durable_server(agent, about, self.durable / f"{name}.db", wrap)
        else:
            made = agent_server(agent, about, wrap, **handler)
        self.cards.append(await self.stack.enter_async_context(made))
        self.health[name] = health
        if self.registry_url:
            await self._publish(self.cards[-1])
        return agent

    async def team(
        self,
        plan: Plan,
        edit: Edit = append_own_file,
        review: Judge = lambda request, files: "",
        test: Judge = lambda request, files: "",
    ) -> None:
        """One of each."""
        await self.add("planner", SKILL_PLAN, plans(plan))
        await self.add("coder", SKILL_EDIT, codes(edit))
        await self.add("reviewer", SKILL_REVIEW, reviews(review))
        await self.add("tester", SKILL_TEST, runs_tests(test))

    async def orchestrator(self) -> "OrchestratorClient":
        """Host the orchestrator on a plain a2a-sdk server, and a client for it."""
        registry = await self.registry()
        values: dict[str, Any] = {
            "registry": registry,
            "orchestrator_patience": 0.5,
            "orchestrator_poll": 0.5,
            "orchestrator_lost": 3.0,
            "orchestrator_answer": 5.0,
        }
        executor = Orchestrator(OrchestratorSettings(**(values | self.settings)))
        self.stack.push_async_callback(executor.stop)
        server = agent_server(executor, card("orchestrator", SKILL_DELIVER), routes=executor.routes)
        about = await self.stack.enter_async_context(server)
        executor.reachable_at(about.supported_interfaces[0].url.removesuffix("/a2a/jsonrpc"))
        http = await self.stack.enter_async_context(httpx.AsyncClient(timeout=30))
        return OrchestratorClient(about, http, executor)

    async def registry(self) -> str:
        """Start a registry and publish the agents added so far, and those added later; its URL."""
        folder = self.stack.enter_context(TemporaryDirectory())
        app = create_app(RegistrySettings(store=f"sqlite:///{folder}/registry.db", ttl=3600.0))
        url = await self.stack.enter_async_context(serving(app, lifespan=True))
        self.registry_url = url
        for one in self.cards:
            await self._publish(one)
        return url

    async def _publish(self, one: pb.AgentCard) -> None:
        async with RegistryClient(self.registry_url) as registry:
            instance = Instance(f"{one.name}-1", one.supported_interfaces[0].url)
            await registry.publish(one, instance=instance)
            if self.health[one.name] == "down":
                await registry.withdraw(one.name, one.version, instance.id)


@contextlib.asynccontextmanager
async def a_scene(durable: Path | None = None) -> AsyncIterator[Scene]:
    """An empty scene; all that was started in it stops at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield Scene(stack, durable)
        for server in _SERVERS:  # all at once: each looks at this ten times a second
            server.should_exit = True


@dataclass
class Seen:
    """What a client saw of a task: every event, and the task folded from them by the server."""

    events: list[pb.StreamResponse]
    task: pb.Task

    @property
    def state(self) -> str:
        return pb.TaskState.Name(self.task.status.state).removeprefix("TASK_STATE_")

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.task.status.message.parts)

    @property
    def metadata(self) -> dict[str, Any]:
        return MessageToDict(self.task.metadata)

    @property
    def artifacts(self) -> dict[str, str]:
        """The task's own artifacts by name, as text (bundles as "")."""
        return {
            one.name: "".join(part.text for part in one.parts)
            for one in self.task.artifacts
            if "parley.dev/delegation" not in one.metadata
        }

    @property
    def own_words(self) -> list[str]:
        """What the orchestrator itself said, in order."""
        return [
            "\n".join(part.text for part in one.status_update.status.message.parts)
            for one in self.events
            if one.HasField("status_update") and "parley.dev/delegation" not in one.status_update.metadata
        ]

    @property
    def relayed_words(self) -> list[str]:
        """What children said, in order."""
        return [
            "\n".join(part.text for part in one.status_update.status.message.parts)
            for one in self.events
            if one.HasField("status_update") and "parley.dev/delegation" in one.status_update.metadata
        ]

    def delegations(self) -> list[dict[str, Any]]:
        """The delegation of every relayed event, in order."""
        found = []
        for one in self.events:
            for kind in ("status_update", "artifact_update"):
                if one.HasField(kind):
                    told = MessageToDict(getattr(one, kind).metadata).get("parley.dev/delegation")
                    if told:
                        found.append(told)
        return found


class OrchestratorClient:
    """Sends tasks to an orchestrator and watches them."""

    def __init__(
        self, about: pb.AgentCard, http: httpx.AsyncClient, executor: Orchestrator | None = None
    ) -> None:
        self.executor = executor
        self.url = about.supported_interfaces[0].url
        self.client = ClientFactory(ClientConfig(httpx_client=http)).create(about)

    async def run(
        self,
        taken: Snapshot | None,
        *,
        text: str = "Improve it",
        options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Seen:
        """Send a task and watch it to its end or its next question."""
        return await self.send(message(taken, text, options or {}, **more))

    async def answer(self, seen: Seen, *parts: pb.Part) -> Seen:
        """Answer what a task asks and watch on."""
        told = pb.Message(
            message_id=str(uuid.uuid4()),
            role=pb.ROLE_USER,
            task_id=seen.task.id,
            context_id=seen.task.context_id,
            parts=parts,
        )
        return await self.send(told)

    async def send(self, told: pb.Message) -> Seen:
        events = []
        task_id = told.task_id
        async with asyncio.timeout(60):
            async for event in self.client.send_message(pb.SendMessageRequest(message=told)):
                events.append(event)
                task_id = task_id or event.task.id or event.status_update.task_id
        return Seen(events, await self.get(task_id))

    @property
    def base_url(self) -> str:
        return self.url.removesuffix("/a2a/jsonrpc")

    async def children(self, task_id: str) -> dict[str, Any]:
        """The children that the task itself tells of."""
        found = MessageToDict((await self.get(task_id)).metadata).get("parley.dev/children")
        return dict(found or {})

    async def get(self, task_id: str) -> pb.Task:
        return await self.client.get_task(pb.GetTaskRequest(id=task_id))


def message(
    taken: Snapshot | None,
    text: str = "Improve it",
    options: Mapping[str, Any] | None = None,
    change: tuple[str, bytes] | None = None,
) -> pb.Message:
    """The message that gives the orchestrator a task."""
    told = pb.Message(message_id=str(uuid.uuid4()), role=pb.ROLE_USER)
    told.parts.add(text=text)
    data: dict[str, Any] = {"options": dict(options or {})}
    if taken is not None:
        data["base"] = {"commit": taken.commit}
        told.parts.append(bundle_part(taken.commit, taken.bundle))
    if taken is not None and change is not None:
        data["change"] = {"commit": change[0], "prerequisite": taken.commit}
        told.parts.append(bundle_part(*change))
    ParseDict(data, told.parts.add(media_type=REQUEST).data)
    return told


def bundle_part(commit: str, bundle: bytes) -> pb.Part:
    return pb.Part(raw=bundle, media_type=GIT_BUNDLE, filename=f"{commit}.bundle")


async def sample(tmp_path: Path, files: Mapping[str, str] = FILES) -> Snapshot:
    """A small repository as a snapshot."""
    return await snapshot(repository(tmp_path / "repo", dict(files)))


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, seconds: float = 60.0) -> None:
    """Return when `condition` holds; fail saying `what` did not happen."""
    ends = asyncio.get_running_loop().time() + seconds
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        assert asyncio.get_running_loop().time() < ends, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)
