"""Handing one piece of work to an agent that can do it, and to the next one when it cannot."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict

from parley_agents.orchestrator.answers import kept
from parley_agents.orchestrator.circuit import pause
from parley_agents.orchestrator.errors import (
    BadAnswer,
    CallFailed,
    CallRefused,
    ChildFailed,
    NoAgent,
    OutOfTime,
)
from parley_agents.orchestrator.follow import Answers, Follower, News, StatusNews, View, mark, words
from parley_agents.orchestrator.job import Job
from parley_agents.orchestrator.order import Order, order_message
from parley_agents.orchestrator.peer import Peer
from parley_agents.orchestrator.questions import Question
from parley_agents.orchestrator.relay import Child
from parley_core.telemetry import span
from parley_runtime.store import INTERRUPTED

T = TypeVar("T")

LOST = "parley.dev/lost"
"""Metadata of a kept result: why we have none from the agent. Failures are kept like results, so that a run
repeated after a crash goes the same way."""


async def delegate(job: Job, order: Order, read: Callable[[pb.Task], Awaitable[T]]) -> T:
    """What `read` makes of the work of an agent with the order's skill.

    An agent that fails, cannot be reached, or makes something that `read` refuses with BadAnswer is left for
    another one with the skill, as often as the settings allow.

    Raises NoAgent when there is nobody (left) to ask, ChildFailed with everything that went wrong,
    OutOfTime, and NeedsClient when a child asks for something only the client can give.
    """
    tried: list[str] = []
    barred: set[str] = set()
    reasons: list[str] = []
    attempts = job.settings.orchestrator_attempts
    for number in range(1, attempts + 1):
        attempt = Attempt(job, order, number)
        try:
            await attempt.choose(tried, barred)
        except NoAgent as error:
            if reasons:
                raise ChildFailed("; ".join(reasons)) from error
            raise
        try:
            with span(f"delegate {order.role} {order.key}", agent=attempt.name):
                task = await attempt.run()
                answer = await read(task)
        except (BadAnswer, CallRefused) as error:
            barred.add(attempt.url)
            failure = str(error)
        except (CallFailed, ChildFailed) as error:
            failure = str(error)
            if isinstance(error, ChildFailed) and attempt.rejected:
                barred.add(attempt.url)
        else:
            job.directory.circuits.worked(attempt.url)
            return answer
        job.directory.circuits.failed(attempt.url)
        tried.append(attempt.url)
        reasons.append(f"{attempt.name}: {failure}")
        if number < attempts:
            await job.relay.say(
                f"{order.role} {attempt.name} did not do {order.request.step.id}: {failure[:500]}"
            )
            await asyncio.sleep(pause(number))
    raise ChildFailed("; ".join(reasons))


class Attempt:
    """One attempt of an order with one agent. Everything it learns is kept in the journal under its key."""

    def __init__(self, job: Job, order: Order, number: int) -> None:
        self._job = job
        self._order = order
        self._key = f"{order.key}:{order.role}:r{order.request.round}" + (f".{number}" if number > 1 else "")
        self._source: Answers | None = None
        self._view = View()
        self.name = self.url = ""
        self.rejected = False

    async def choose(self, tried: list[str], barred: set[str]) -> None:
        """Settle on an agent. Raises NoAgent."""
        chosen = await self._job.journal.once(f"agent:{self._key}", lambda: self._choice(tried, barred))
        self.name, self.url = chosen["agent"], chosen["url"]
        self._card = ParseDict(chosen["card"], pb.AgentCard(), ignore_unknown_fields=True)
        first = chosen["card"].get("supportedInterfaces", [{}])[0]
        step = self._order.request.step
        self._child = Child(
            key=self._key,
            step=step.id,
            role=self._order.role,
            skill=self._order.skill,
            round=self._order.request.round,
            agent=self.name,
            version=chosen["version"],
            interface={k: v for k, v in first.items() if isinstance(v, str)},
            external=chosen["external"],
        )

    async def _choice(self, tried: list[str], barred: set[str]) -> dict[str, Any]:
        if self._order.seconds <= 0:
            raise OutOfTime("the time for the task is spent")
        agent = await self._job.directory.find(self._order.skill, tried=tried, barred=barred)
        return {
            "agent": agent.name,
            "version": agent.version,
            "url": agent.url,
            "external": agent.external,
            "card": MessageToDict(agent.card),
        }

    async def run(self) -> pb.Task:
        """The agent's task when it is completed. Raises CallFailed, CallRefused, ChildFailed, NeedsClient."""
        self._peer = Peer(self._card, self._job.http, self._job.token_for(self._child))
        try:
            opened = await self._job.journal.once(f"child:{self._key}", self._open)
            if "failed" in opened:
                raise (CallRefused if opened["refused"] else CallFailed)(opened["failed"])
            if "reply" in opened:
                message = pb.Message.FromString(base64.b64decode(opened["reply"]))
                return pb.Task(
                    status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED),
                    artifacts=[pb.Artifact(artifact_id="reply", parts=message.parts)],
                )
            self._child.task_id, self._child.context_id = opened["taskId"], opened["contextId"]
            self._view.task.id = opened["taskId"]
            task = await self._result(0)
            turn = 0
            while task.status.state in INTERRUPTED:
                turn += 1
                task = await self._resumed(task, turn)
        finally:
            if self._source is not None:
                await self._source.aclose()
        return self._completed(task)

    async def _open(self) -> dict[str, Any]:
        """Send the order; the child's task as soon as there is one. Failures are values here, see LOST."""
        message = await order_message(self._job, self._order, self._card, f"child:{self._key}")
        where = {"agent": self.name, "url": self.url}
        failure: CallFailed | CallRefused
        for number in range(1, self._job.settings.orchestrator_tries + 1):
            try:
                await self._send(message)
            except CallRefused as error:
                return where | {"taskId": "", "failed": str(error), "refused": True}
            except CallFailed as error:
                failure = error
                self._job.directory.circuits.failed(self.url)
                if self._job.directory.circuits.state(self.url) == "open":
                    break
                if number < self._job.settings.orchestrator_tries:
                    await asyncio.sleep(pause(number, error.retry_after))
                continue
            if self._view.reply is not None:
                reply = base64.b64encode(self._view.reply.SerializeToString()).decode()
                return where | {"taskId": "", "reply": reply}
            return where | {"taskId": self._view.task.id, "contextId": self._view.task.context_id}
        return where | {"taskId": "", "failed": str(failure), "refused": False}

    async def _send(self, message: pb.Message) -> None:
        """Send and wait for the first thing the agent says; the rest stays in the open stream."""
        seconds = self._order.seconds
        source = self._peer.send(message, seconds=seconds)
        patience = self._job.settings.orchestrator_answer if self._peer.streams else seconds
        try:
            async with asyncio.timeout(min(patience, seconds)):
                event = await anext(source)
        except TimeoutError:
            await source.aclose()
            raise CallFailed(f"{self.name} took the message and said nothing") from None
        except StopAsyncIteration:
            raise CallFailed(f"{self.name} ended its answer without saying anything") from None
        news = self._view.take(event)
        self._source = source
        if self._view.reply is None:
            if not self._view.task.id:
                await source.aclose()
                raise CallRefused(f"{self.name} answered without a task id")
            if not self._child.task_id:
                self._child.task_id, self._child.context_id = self._view.task.id, self._view.task.context_id
                await self._job.relay.opened(self._child)
            for one in news:
                await self._relay(one)

    async def _result(self, turn: int) -> pb.Task:
        """The child's task when it has settled, from the journal or by following it."""
        data = await self._job.journal.once(f"result:{self._key}.{turn}", self._follow)
        task = pb.Task.FromString(data)
        self._child.state = pb.TaskState.Name(task.status.state)
        self._job.relay.children[self._key] = self._child
        if LOST in task.metadata:
            raise CallFailed(str(task.metadata[LOST]))
        return task

    async def _follow(self) -> bytes:
        self._job.relay.children.setdefault(self._key, self._child)
        source, self._source = self._source, None
        settings = self._job.settings
        follower = Follower(
            self._peer,
            self._view,
            self._relay,
            self._job.inbox,
            lost=settings.orchestrator_lost,
            longest=settings.orchestrator_poll,
        )
        seconds = max(self._order.seconds, 0.0)
        try:
            async with asyncio.timeout(seconds):
                task = await follower.run(source)
        except TimeoutError:
            await self._abandon()
            reason = f"it took longer than the {seconds:.0f} s it had"
        except (CallFailed, CallRefused) as error:
            reason = str(error)
        else:
            return (await kept(task, self._job.exchange)).SerializeToString()
        lost = pb.Task(id=self._view.task.id)
        lost.metadata[LOST] = reason
        return lost.SerializeToString()

    async def _resumed(self, task: pb.Task, turn: int) -> pb.Task:
        """Carry the child's question up and the answer down; the child's task when it has settled again."""
        asked = words(task.status.message) or "(no words)"
        question = Question(
            id=f"{self._key}.{turn}",
            text=f"{self._order.role} {self.name} asks about {self._child.step}: {asked}",
            state=task.status.state,
            asker=self._child.delegation | {"state": pb.TaskState.Name(task.status.state)},
            parts=tuple(part for part in task.status.message.parts if part.WhichOneof("content") != "text"),
        )
        parts = await self._job.ask(question)
        self._view = View(task.id, answered=mark(task))
        self._view.task.CopyFrom(task)

        async def tell() -> bool:
            try:
                now = await self._peer.get(task.id)
            except CallFailed:
                now = task
            if now.status.state not in INTERRUPTED or mark(now) != mark(task):
                return False  # it has gone on without us, for example after an out-of-band sign-in
            message = pb.Message(
                message_id=self._job.message_id(f"answer:{self._key}.{turn}"),
                role=pb.ROLE_USER,
                task_id=task.id,
                context_id=task.context_id,
                parts=parts,
            )
            for number in range(1, self._job.settings.orchestrator_tries + 1):
                try:
                    await self._send(message)
                    return True
                except CallFailed as error:
                    if number == self._job.settings.orchestrator_tries:
                        raise
                    await asyncio.sleep(pause(number, error.retry_after))
            return False

        await self._job.journal.once(f"answered:{self._key}.{turn}", tell)
        return await self._result(turn)

    def _completed(self, task: pb.Task) -> pb.Task:
        state = task.status.state
        if state == pb.TASK_STATE_COMPLETED:
            return task
        self.rejected = state == pb.TASK_STATE_REJECTED
        said = words(task.status.message)[:2000] or "it gave no reason"
        raise ChildFailed(f"{pb.TaskState.Name(state).removeprefix('TASK_STATE_').lower()}: {said}")

    async def _abandon(self) -> None:
        try:
            await self._peer.cancel(self._view.task.id, seconds=5.0)
        except (CallFailed, CallRefused):
            pass  # it is not ours any more, whatever becomes of it

    async def _relay(self, news: News) -> None:
        if isinstance(news, StatusNews):
            await self._job.relay.child_status(self._child, news.state, news.text)
        else:
            await self._job.relay.child_artifact(
                self._child, news.artifact, append=news.append, last=news.last
            )
