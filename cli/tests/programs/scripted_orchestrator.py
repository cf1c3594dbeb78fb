"""An orchestrator that follows a script instead of finding agents: it speaks the contract of the real one.

The task's text chooses what happens: "verified", "refused" (not verified), "slow" (works for a minute), "asks"
(waits for an answer first), "nothing" (an empty patch). With a repository the change drops `import os` lines.
"""

import asyncio
import json

from a2a.helpers.proto_helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb

from parley_agents.artifacts import DIFF, GIT_BUNDLE, JUNIT, MARKDOWN, PLAN, SARIF
from parley_agents.bundles import Exchange, data_of
from parley_agents.settings import load_settings
from parley_agents.workspace import open_workspace

STEP = {"id": "unused", "title": "Unused imports", "skill": "edit-code", "instructions": "", "needs": []}


class Scripted(AgentExecutor):
    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        story = _Story(context, event_queue)
        first = context.current_task.history[0] if context.current_task else context.message
        text = " ".join(part.text for part in first.parts)
        if context.current_task is None:
            await story.begin()
            if "slow" in text:
                for number in range(600):
                    await story.child("working", f"still at it {number}")
                    await asyncio.sleep(0.1)
            await story.plan()
            await story.child("working", "removing imports")
            await story.child("completed", "removed them")
            await story.settled("again", "a test broke")
            await story.settled("accepted", "tests pass")
            await story.deliver(first, text)
            if "asks" in text:
                await story.status(pb.TASK_STATE_INPUT_REQUIRED, "Deliver it?")
                return
        elif "yes" not in context.get_user_input():
            await story.status(pb.TASK_STATE_CANCELED, "rejected", {"parley.dev/verified": False})
            return
        verified = "refused" not in text
        state = pb.TASK_STATE_COMPLETED if verified else pb.TASK_STATE_FAILED
        await story.status(state, "1 step delivered", {"parley.dev/verified": verified})

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await _Story(context, event_queue).status(pb.TASK_STATE_CANCELED, "cancelled by the client")


class _Story:
    def __init__(self, context: RequestContext, queue: EventQueue) -> None:
        self._context, self._queue = context, queue
        self._ids = {"task_id": context.task_id, "context_id": context.context_id}

    async def begin(self) -> None:
        status = pb.TaskStatus(state=pb.TASK_STATE_WORKING)
        task = pb.Task(id=self._context.task_id, context_id=self._context.context_id, status=status)
        task.history.append(self._context.message)
        await self._queue.enqueue_event(task)

    async def status(self, state: int, text: str, metadata: dict | None = None) -> None:
        message = new_text_message(text, self._context.context_id, self._context.task_id)
        event = pb.TaskStatusUpdateEvent(status=pb.TaskStatus(state=state, message=message), **self._ids)
        event.metadata.update(metadata or {})
        await self._queue.enqueue_event(event)

    async def say(self, text: str) -> None:
        await self.status(pb.TASK_STATE_WORKING, text)

    async def settled(self, outcome: str, reason: str) -> None:
        told = {"step": "unused", "outcome": outcome, "reason": reason}
        await self.status(pb.TASK_STATE_WORKING, f"unused {outcome}: {reason}", {"parley.dev/step": told})

    async def child(self, state: str, text: str) -> None:
        who = {"step": "unused", "role": "coder", "agent": "coder", "version": "1.0.0", "skill": "edit-code",
               "round": 1, "state": f"TASK_STATE_{state.upper()}", "childTaskId": "k1", "childContextId": "c"}  # fmt: skip
        await self.status(pb.TASK_STATE_WORKING, text, {"parley.dev/delegation": who})

    async def artifact(self, name: str, part: pb.Part) -> None:
        artifact = pb.Artifact(artifact_id=name, name=name, parts=[part])
        await self._queue.enqueue_event(
            pb.TaskArtifactUpdateEvent(artifact=artifact, last_chunk=True, **self._ids)
        )

    async def plan(self) -> None:
        plan = {"goal": "g", "engine": "script", "summary": "one step", "steps": [STEP]}
        await self.artifact("plan.json", pb.Part(text=json.dumps(plan), media_type=PLAN))

    async def deliver(self, message: pb.Message, text: str) -> None:
        patch, commit, bundle = "", "", b""
        request = next((data_of(part) for part in message.parts if data_of(part)), {})
        if request.get("base") and "nothing" not in text:
            patch, commit, bundle = await self._change(message, request)
        await self.artifact("change.patch", pb.Part(text=patch, media_type=DIFF, filename="change.patch"))
        if bundle:
            name = f"{commit}.bundle"
            await self.artifact("change.bundle", pb.Part(raw=bundle, media_type=GIT_BUNDLE, filename=name))
        for name, media_type in (("review.sarif", SARIF), ("junit.xml", JUNIT), ("report.md", MARKDOWN)):
            await self.artifact(name, pb.Part(text=f"{name}: {json.dumps(request)}", media_type=media_type))

    async def _change(self, message: pb.Message, request: dict) -> tuple[str, str, bytes]:
        parts = {part.filename: part for part in message.parts if part.filename.endswith(".bundle")}
        exchange = Exchange.from_settings(load_settings())
        bundles = [await exchange.bytes_of(part) for part in parts.values()]
        base = request["base"]["commit"]
        start = request.get("change", {}).get("commit", base)
        async with open_workspace(start, bundles) as workspace:
            for name in await workspace.files():
                path = workspace.path / name
                lines = path.read_text().splitlines(keepends=True)
                path.write_text("".join(line for line in lines if line != "import os\n"))
                if "again" in text_of(message):
                    path.write_text(path.read_text() + "# again\n")
            commit = await workspace.record("Unused imports\n")
            return await workspace.diff(base, commit), commit, await workspace.bundle(commit, base)


def text_of(message: pb.Message) -> str:
    return " ".join(part.text for part in message.parts)
