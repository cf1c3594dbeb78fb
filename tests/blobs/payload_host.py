"""An agent that says what it was sent and makes artifacts of any size; as a process: `python payload_host.py SETTINGS`."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator

from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import TaskNotCancelableError
from google.protobuf.json_format import MessageToDict

from parley_runtime.host import AgentHost
from parley_runtime.payloads import open_part, write_part
from parley_runtime.settings import HostSettings

CARD = pb.AgentCard(
    name="payloads",
    description="says what it was sent",
    version="1.0.0",
    capabilities=pb.AgentCapabilities(streaming=True),
    default_input_modes=["text/plain", *(f"application/x-{kind}" for kind in ("raw", "text", "data"))],
    default_output_modes=["text/plain", "application/octet-stream"],
    skills=[pb.AgentSkill(id="obey", name="obey", description="does what it is told", tags=["test"])],
)


class Obedient(AgentExecutor):
    """Its first part says what to do: `describe` the other parts; `make KIND BYTES`, an artifact; `copy` each other part
    into an artifact, through the blob store; `chunks BYTES`, a small, a large and a small chunk of one artifact, sent at
    once; `reply BYTES`, a Message; `ask BYTES`, for input, with a large status message."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        command, *words = context.message.parts[0].text.split()
        if command == "reply":
            message = pb.Message(
                message_id="reply", role=pb.ROLE_AGENT, parts=[pb.Part(raw=b"r" * int(words[0]))]
            )
            return await event_queue.enqueue_event(message)
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        if context.current_task is None:
            task = pb.Task(id=context.task_id, context_id=context.context_id, history=[context.message])
            task.status.state = pb.TASK_STATE_SUBMITTED
            await event_queue.enqueue_event(task)
        await getattr(self, f"_{command}")(context.message.parts[1:], updater, *words)
        if command != "ask":
            await updater.complete()

    async def _describe(self, parts: list[pb.Part], updater: TaskUpdater) -> None:
        text = json.dumps([digest_of(part) for part in parts])
        await updater.add_artifact([pb.Part(text=text)], name="seen")

    async def _make(self, parts: list[pb.Part], updater: TaskUpdater, kind: str, size: str) -> None:
        part = made(kind, int(size))
        await updater.add_artifact([part], name="made")
        assert part.WhichOneof("content") == kind, "what the executor holds is left as it is"

    async def _copy(self, parts: list[pb.Part], updater: TaskUpdater) -> None:
        for part in parts:
            copy = await write_part(open_part(part), media_type="application/x-copy", filename="copy.bin")
            await updater.add_artifact([copy], name="copy")

    async def _chunks(self, parts: list[pb.Part], updater: TaskUpdater, size: str) -> None:
        await updater.add_artifact([pb.Part(text="begin")], artifact_id="chunked")
        texts = ("small", "L" * int(size), "small again", "M" * int(size), "end")
        await asyncio.gather(
            *(updater.add_artifact([pb.Part(text=t)], artifact_id="chunked", append=True) for t in texts)
        )

    async def _ask(self, parts: list[pb.Part], updater: TaskUpdater, size: str) -> None:
        await updater.requires_input(updater.new_agent_message([pb.Part(text="?" * int(size))]))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise TaskNotCancelableError(message="it will not")


def made(kind: str, size: int) -> pb.Part:
    """The part that `make` makes."""
    part = pb.Part(media_type=f"application/x-{kind}", filename=f"{kind}.bin")
    part.metadata.update({"own": "kept"})
    match kind:
        case "raw":
            part.raw = bytes(range(256)) * (size // 256)
        case "text":
            part.text = "ä" * (size // 2)
        case "data":
            part.data.struct_value.update({"list": [1.5, None, True, "ü" * (size // 2)]})
    return part


def digest_of(part: pb.Part) -> str:
    """What of a part must arrive as it was sent."""
    told = json.dumps(MessageToDict(part), sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


async def zeros(size: int) -> AsyncIterator[bytes]:
    """So many bytes, a MiB at a time."""
    block = bytes(2**20)
    for _ in range(size // len(block)):
        yield block


if __name__ == "__main__":
    asyncio.run(AgentHost(CARD, Obedient(), HostSettings.model_validate(json.loads(sys.argv[1]))).run())
