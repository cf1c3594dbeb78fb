"""The orchestrator as an a2a-sdk AgentExecutor: reads the turn, runs the course, says how it ended."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict
from starlette.routing import Route

from parley_agents.artifacts import GIT_BUNDLE
from parley_agents.bundles import Exchange
from parley_agents.orchestrator.circuit import Circuits
from parley_agents.orchestrator.course import Declined, deliver
from parley_agents.orchestrator.discovery import Directory
from parley_agents.orchestrator.errors import CallFailed, CallRefused
from parley_agents.orchestrator.inbox import Inbox
from parley_agents.orchestrator.job import Job
from parley_agents.orchestrator.journal import Journal
from parley_agents.orchestrator.options import DeliverRequest
from parley_agents.orchestrator.peer import Peer, http_client
from parley_agents.orchestrator.questions import NeedsClient, answer_from
from parley_agents.orchestrator.relay import CHANGED, ENDED, QUESTION, VERIFIED, Child, Relay, children_in
from parley_agents.orchestrator.report import headline
from parley_agents.orchestrator.request import read_request
from parley_agents.orchestrator.settings import OrchestratorSettings, load_settings
from parley_core.bearer import bearer
from parley_core.errors import ConfigurationError, ParleyError
from parley_registry.client import Registry, connect
from parley_runtime.steps import LeaseLost, current_steps

if TYPE_CHECKING:
    from parley_runtime.host import AgentHost

ROUTES_AT = "/agent"
"""Where the host mounts `routes`."""


@dataclass(slots=True)
class _Running:
    work: "asyncio.Task[None]"
    relay: Relay
    over: asyncio.Event | None = None
    """Set when cancelling has said its last word; None while nobody cancels."""


class Orchestrator(AgentExecutor):
    """Delivers changes by delegating to agents found in the registry; see README.md for the contract."""

    def __init__(self, settings: OrchestratorSettings | None = None) -> None:
        """Configured by `PARLEY_…` in the environment. Raises ConfigurationError for a malformed variable."""
        self._settings = settings or load_settings()
        self._exchange = Exchange.from_settings(self._settings)
        self._circuits = Circuits(
            threshold=self._settings.orchestrator_circuit_failures,
            cooldown=self._settings.orchestrator_circuit_cooldown,
        )
        self._inbox = Inbox()
        self._token = bearer(file=self._settings.agent_token_file)
        if self._settings.public_url:
            self.reachable_at(self._settings.public_url)
        self._memories: dict[str, dict[str, Any]] = {}
        self._running: dict[str, _Running] = {}
        self._http: httpx.AsyncClient | None = None
        self._registry: Registry | None = None
        self._directory: Directory | None = None

    @property
    def routes(self) -> list[Route]:
        """What the host serves for us under ROUTES_AT: where children call when their stream is gone."""
        return self._inbox.routes

    async def start(self, host: "AgentHost") -> None:
        """Learn from the Parley host what the environment does not say: the registry, and where we are reachable."""
        own, given = self._settings, host.settings
        if not own.registry:
            found = ("registry", "registry_token", "registry_token_file")
            self._settings = own.model_copy(update={name: getattr(given, name) for name in found})
        self.reachable_at(own.public_url or given.public_url or f"http://{given.listen}")

    def reachable_at(self, url: str) -> None:
        """Say at which base URL the host serves `routes`, so that children can push."""
        self._inbox.reachable_at(url.rstrip("/") + ROUTES_AT)

    async def stop(self) -> None:
        """Let go of all connections."""
        if self._http is not None:
            await self._http.aclose()
        if self._registry is not None:
            await self._registry.aclose()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Work on a task until it has ended or waits for its client.

        Raises InvalidParamsError for a first message that cannot be used; no task is shown then.
        """
        message, task_id, context_id = context.message, context.task_id, context.context_id
        assert message is not None
        assert task_id is not None
        assert context_id is not None
        task = context.current_task
        relay = Relay(event_queue, task_id, context_id)
        if task is not None:
            relay.children = children_in(task)
        running = _Running(
            asyncio.create_task(self._turn(message, task, relay), name=f"orchestrate:{task_id}"), relay
        )
        self._running[task_id] = running
        try:
            await running.work
        except asyncio.CancelledError:
            if running.over is None:
                raise
            await running.over.wait()  # returning earlier would let go of a task that has no end yet
        finally:
            del self._running[task_id]

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Stop working on the task and cancel every child that has not ended, known from the task itself."""
        assert context.task_id is not None
        assert context.context_id is not None
        relay = Relay(event_queue, context.task_id, context.context_id)
        children = children_in(context.current_task) if context.current_task else {}
        running = self._running.get(context.task_id)
        over = asyncio.Event()
        try:
            if running is not None:
                running.over = over
                running.work.cancel()
                await asyncio.wait([running.work], timeout=2.0)
                children |= running.relay.children
            silent = await self._cancel_all(children.values())
            text = "cancelled by the client"
            if silent:
                text += f"; no answer to the cancelling from {', '.join(silent)}"
            await relay.status(pb.TASK_STATE_CANCELED, text, {VERIFIED: False, CHANGED: False})
        finally:
            over.set()
            self._memories.pop(context.task_id, None)

    async def _turn(self, message: pb.Message, task: pb.Task | None, relay: Relay) -> None:
        memory = self._memories.setdefault(relay.task_id, {}) if current_steps.get() is None else {}
        journal = Journal(memory)
        first = pb.Message.FromString(await journal.once("request", lambda: self._kept(message)))
        request = read_request(first.parts)
        deadline = await self._begin(journal, message, task, request)
        if task is None:
            await relay.begin(first)
        elif task.status.state != pb.TASK_STATE_WORKING:
            await relay.say("going on")
        try:
            job = self._job(journal, relay, request, deadline)
            delivery = await deliver(job, request, list(first.parts))
        except NeedsClient as stop:
            question = stop.question
            told = {
                "id": question.id,
                "asker": dict(question.asker),
                "remaining": max(0.0, deadline - time.time()),
            }
            await relay.status(question.state, question.text, {QUESTION: told}, list(question.parts))
            return
        except LeaseLost:
            raise
        except Declined as error:
            await self._end(relay, pb.TASK_STATE_CANCELED, str(error))
        except ParleyError as error:
            await self._end(relay, pb.TASK_STATE_FAILED, str(error))
        else:
            text, changed = headline(delivery), not delivery.empty
            if delivery.verified:
                await relay.status(pb.TASK_STATE_COMPLETED, text, {VERIFIED: True, CHANGED: changed})
            else:
                said = f"{text}. {'; '.join(delivery.doubts)}"[:4000]
                await self._end(relay, pb.TASK_STATE_FAILED, said, changed=changed)
        self._memories.pop(relay.task_id, None)

    async def _begin(
        self, journal: Journal, message: pb.Message, task: pb.Task | None, request: DeliverRequest
    ) -> float:
        """Until when this task may be worked on; and file the message as the answer to what was asked."""
        asked = MessageToDict(task.metadata).get(QUESTION) if task is not None else None

        async def turn() -> dict[str, Any]:
            seconds = asked["remaining"] if asked else request.options.seconds
            return {"answers": asked["id"] if asked else "", "deadline": time.time() + seconds}

        async def answer() -> list[dict[str, Any]]:
            return answer_from(message)

        found = await journal.once(f"turn:{message.message_id}", turn)
        if found["answers"]:
            await journal.once(f"answer:{found['answers']}", answer)
        return float(found["deadline"])

    async def _kept(self, message: pb.Message) -> bytes:
        """The first message as the journal keeps it: with the repository where we can read it again."""
        read_request(message.parts)
        copy = pb.Message()
        copy.CopyFrom(message)
        for part in copy.parts:
            if part.media_type == GIT_BUNDLE and part.WhichOneof("content") == "raw":
                part.CopyFrom(await self._exchange.part(part.raw, GIT_BUNDLE, part.filename))
        return copy.SerializeToString()

    def _job(self, journal: Journal, relay: Relay, request: DeliverRequest, deadline: float) -> Job:
        if not self._settings.registry:
            raise ConfigurationError(
                "the orchestrator has no registry to find agents in: start it with --registry or PARLEY_REGISTRY"
            )
        self._registry = self._registry or connect(
            self._settings.registry,
            token=bearer(self._settings.registry_token, self._settings.registry_token_file),
        )
        self._directory = self._directory or Directory(
            self._registry, self._circuits, patience=self._settings.orchestrator_patience
        )
        return Job(
            task_id=relay.task_id,
            relay=relay,
            journal=journal,
            directory=self._directory,
            exchange=self._exchange,
            inbox=self._inbox,
            http=self._client(),
            settings=self._settings,
            options=request.options,
            deadline=deadline,
            token=self._token,
        )

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            self._http = http_client()
        return self._http

    async def _end(self, relay: Relay, state: int, text: str, *, changed: bool = False) -> None:
        """A bad end: nobody goes on working for a task that has none."""
        await self._cancel_all(relay.children.values())
        await relay.status(state, text, {VERIFIED: False, CHANGED: changed})

    async def _cancel_all(self, children: Iterable[Child]) -> list[str]:
        """Cancel all children that have not ended, at once and within a bounded time; who did not answer."""
        open_ones = [child for child in children if child.state not in ENDED and child.task_id]
        if not open_ones:
            return []
        seconds = self._settings.orchestrator_cancel
        calls = {asyncio.create_task(self._cancel_one(child, seconds)): child for child in open_ones}
        done, late = await asyncio.wait(calls, timeout=seconds)
        for call in late:
            call.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        failed = [call for call in done if not call.result()]
        return [f"{calls[call].agent} ({calls[call].step})" for call in [*failed, *late]]

    async def _cancel_one(self, child: Child, seconds: float) -> bool:
        interface = pb.AgentInterface(
            url=child.interface.get("url", ""),
            protocol_binding=child.interface.get("protocolBinding", ""),
            protocol_version=child.interface.get("protocolVersion", ""),
            tenant=child.interface.get("tenant", ""),
        )
        card = pb.AgentCard(name=child.agent, supported_interfaces=[interface])
        try:
            token = None if child.external else self._token
            await Peer(card, self._client(), token).cancel(child.task_id, seconds=seconds)
        except CallFailed:
            return False
        except CallRefused:
            return True  # it has ended by itself, or does not know the task any more
        child.state = "TASK_STATE_CANCELED"
        return True
