"""A host that stops: its streams end first, and what finishes in time is still answered."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb

from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings

CARD = pb.AgentCard(name="a", version="1.0.0", capabilities=pb.AgentCapabilities(streaming=True))


class Sleeps(AgentExecutor):
    async def execute(self, context: RequestContext, queue: EventQueue) -> None:
        await queue.enqueue_event(pb.Task(status=pb.TaskStatus(state=pb.TASK_STATE_WORKING)))
        await asyncio.sleep(float(context.get_user_input()))
        await queue.enqueue_event(
            pb.TaskStatusUpdateEvent(status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED))
        )

    async def cancel(self, context: RequestContext, queue: EventQueue) -> None:
        raise RuntimeError("not this one")


def request(method: str, seconds: float) -> dict[str, Any]:
    message = {"messageId": f"{method}", "role": "ROLE_USER", "parts": [{"text": f"{seconds}"}]}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": message}}


async def test_streams_end_at_once_and_waiting_calls_are_answered(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listen = f"127.0.0.1:{listener.getsockname()[1]}"
    settings = HostSettings(store=f"sqlite:///{tmp_path}/a.db", listen=listen, drain=8.0)
    host = AgentHost(CARD, Sleeps(), settings)
    server = uvicorn.Server(uvicorn.Config(host.app, log_level="warning", lifespan="off"))
    await host.start()
    serving = asyncio.create_task(server.serve([listener]))
    headers = {"A2A-Version": "1.0"}
    async with httpx.AsyncClient(base_url=f"http://{listen}", headers=headers, timeout=20) as client:
        waiting = asyncio.create_task(client.post("/a2a/jsonrpc", json=request("SendMessage", 5.0)))
        async with client.stream(
            "POST", "/a2a/jsonrpc", json=request("SendStreamingMessage", 60.0)
        ) as stream:
            lines = stream.aiter_lines()
            assert (await anext(lines)).startswith("id:")
            async with asyncio.timeout(60):
                while host.worker is None or host.worker.free > host.settings.concurrency - 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            draining = asyncio.create_task(host.drain())
            assert not any("COMPLETED" in line for line in [line async for line in lines])
            assert not waiting.done(), "the stream ended with the drain's wait, not at its beginning"
        assert (await waiting).json()["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        await draining
    server.should_exit = True
    await serving
    await host.close()
