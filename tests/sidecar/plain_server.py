"""A plain A2A server of the a2a-sdk with all that a sidecar must cope with: its options are PORT MARKS [quiet] [v0.3] [rest].

It appends a line to the file MARKS for each execution it begins: who counts them knows what ran twice. `quiet`: it cannot
stream; `v0.3`: its card and its wire are of protocol 0.3; `rest`: HTTP+JSON rather than JSON-RPC.
"""

import asyncio
import os
import sys
from pathlib import Path

import uvicorn
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part, Task, TaskState
from a2a.utils.errors import InvalidParamsError
from starlette.applications import Starlette

_PORT, _MARKS, *_WORDS = sys.argv[1:]


class Plain(AgentExecutor):
    """Does what the message's first word says."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        word, *rest = context.get_user_input().split()
        _mark(f"{word} {context.task_id} {context.context_id} {context.message.message_id}")
        if word == "greet":
            await event_queue.enqueue_event(new_text_message("Hello", context_id=context.context_id))
            return
        if word == "refuse":
            raise InvalidParamsError(message="not with me")
        if word == "die":
            os._exit(1)
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        await updater.start_work()
        if word == "count":
            await self._count(updater, int(rest[0]))
        elif word == "ask":
            question = updater.new_agent_message([Part(text="How far?")])
            await updater.requires_input(question)
        elif word == "fail":
            await updater.failed(updater.new_agent_message([Part(text="as you wished")]))
        else:
            await updater.add_artifact(
                [Part(text=f"to {word}: {_said(context.current_task)}")], name="answer"
            )
            metrics = {"parley.dev/metrics": {"words": 1}}
            await updater.update_status(TaskState.TASK_STATE_COMPLETED, metadata=metrics)

    async def _count(self, updater: TaskUpdater, most: int) -> None:
        for number in range(1, most + 1):
            await updater.add_artifact([Part(text=f"{number} ")], artifact_id="n", append=number > 1)
            await asyncio.sleep(0.2)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        _mark(f"cancel {context.task_id}")
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


def _mark(line: str) -> None:
    with Path(_MARKS).open("a") as marks:
        marks.write(line + "\n")


def _said(task: Task | None) -> str:
    said = [part.text for message in task.history for part in message.parts] if task is not None else []
    return " ".join(said)


def main() -> None:
    binding = "HTTP+JSON" if "rest" in _WORDS else "JSONRPC"
    card = AgentCard(
        name="plain",
        description="Does what the first word says.",
        version="2.3.4",
        capabilities=AgentCapabilities(streaming="quiet" not in _WORDS),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="obey", name="Obey", description="Obeys.", tags=["test"])],
    )
    card.supported_interfaces.append(
        AgentInterface(  # as it is known to the world, not as its sidecar reaches it
            url=f"https://agents.example.com:8443/{'' if binding == 'JSONRPC' else 'rest'}",
            protocol_binding=binding,
            protocol_version="0.3.0" if "v0.3" in _WORDS else "1.0",
        )
    )
    handler = DefaultRequestHandler(Plain(), InMemoryTaskStore(), card)
    old = "v0.3" in _WORDS
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=old)]
    routes += create_rest_routes(handler, path_prefix="/rest", enable_v0_3_compat=old)
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(_PORT), log_level="warning")


main()
