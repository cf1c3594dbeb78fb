"""A call whose client has left waits no longer; what it asked for is the store's and goes on."""

import asyncio
import contextlib
from typing import Any

import grpc.aio
import httpx
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import A2AServiceStub

from parley_core.identity import Anonymous
from parley_runtime.bindings.grpc import start_grpc

MESSAGE = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
OLD_MESSAGE = {"messageId": "m", "role": "user", "kind": "message", "parts": [{"kind": "text", "text": "hi"}]}
CALLS = {
    "jsonrpc": ("/a2a/jsonrpc", "1.0", {"method": "SendMessage", "params": {"message": MESSAGE}}),
    "jsonrpc 0.3": ("/a2a/jsonrpc", "0.3", {"method": "message/send", "params": {"message": OLD_MESSAGE}}),
    "rest": ("/a2a/rest/message:send", "1.0", {"message": MESSAGE}),
}


class Waiting:
    """What the front does while a client waits: notes when it begins, and when it is let go."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.began, self.let_go = asyncio.Event(), asyncio.Event()
        self.seconds = seconds

    async def __call__(self, *_: Any) -> pb.Task:
        self.began.set()
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.let_go.set()
            raise
        return pb.Task(id="t-1", context_id="c-1", status=pb.TaskStatus(state=pb.TASK_STATE_COMPLETED))


def posted(served: Any, call: str) -> Any:
    path, version, body = CALLS[call]
    if "jsonrpc" in path:
        body = {"jsonrpc": "2.0", "id": 1, **body}
    return served.client.post(path, json=body, headers={"A2A-Version": version}, timeout=60)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("after", [0.1, 1.5], ids=["at once", "later"])
async def test_a_waiting_call_is_let_go_when_its_client_leaves(served: Any, call: str, after: float) -> None:
    waiting = served.front.on_message_send = Waiting()
    calling = asyncio.create_task(posted(served, call))
    await asyncio.wait_for(waiting.began.wait(), 5)
    await asyncio.sleep(after)
    calling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calling
    await asyncio.wait_for(waiting.let_go.wait(), 3)


@pytest.mark.parametrize("call", CALLS)
async def test_who_stays_is_answered_however_long_it_takes(served: Any, call: str) -> None:
    served.front.on_message_send = Waiting(1.5)
    answer: httpx.Response = await posted(served, call)
    assert answer.status_code == 200
    assert "completed" in answer.text.lower()


async def test_a_waiting_grpc_call_is_let_go_when_its_client_leaves(served: Any) -> None:
    waiting = served.front.on_message_send = Waiting()
    server = await start_grpc(served.front, Anonymous(), "127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        message = pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part(text="hi")])
        call = A2AServiceStub(channel).SendMessage(
            pb.SendMessageRequest(message=message), metadata=(("a2a-version", "1.0"),)
        )
        await asyncio.wait_for(waiting.began.wait(), 5)
        call.cancel()
        await asyncio.wait_for(waiting.let_go.wait(), 3)
    await server.stop(0)
