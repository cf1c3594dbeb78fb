"""Pushes of a whole host: never in the way of a stream, and sent by the next process when one ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from a2a.helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict

from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings

UPDATES = 4


class Counting(AgentExecutor):
    """Works through a few updates and is done."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        task = pb.Task(id=context.task_id, context_id=context.context_id)
        task.status.state = pb.TASK_STATE_SUBMITTED
        task.history.append(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        for number in range(UPDATES):
            await updater.update_status(pb.TASK_STATE_WORKING, new_text_message(f"{number}"))
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serve(address: str) -> Serve:
    card = pb.AgentCard(name="counter", version="1.0.0", description="counts")
    card.capabilities.streaming = card.capabilities.push_notifications = True

    @asynccontextmanager
    async def running(*allow: str) -> AsyncIterator[httpx.AsyncClient]:
        settings = HostSettings(store=address, push_allow=allow or ("127.0.0.0/8",))
        host = AgentHost(card, Counting(), settings)
        await host.start()
        try:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=host.app),  # type: ignore[arg-type]
                base_url="http://127.0.0.1:9999",
                headers={"A2A-Version": "1.0"},
            ) as client:
                yield client
        finally:
            await host.drain()
            await host.close()

    return running


async def call(client: httpx.AsyncClient, method: str, **params: Any) -> httpx.Response:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await client.post("/a2a/jsonrpc", json=request, timeout=30)


def sending(url: str) -> dict[str, Any]:
    message = pb.Message(message_id=f"m-{time.monotonic_ns()}", role=pb.ROLE_USER, parts=[pb.Part(text="go")])
    request = pb.SendMessageRequest(message=message)
    if url:
        request.configuration.task_push_notification_config.url = url
    return MessageToDict(request)


async def stream_seconds(client: httpx.AsyncClient, url: str) -> float:
    started = time.monotonic()
    answer = await call(client, "SendStreamingMessage", **sending(url))
    assert answer.text.count("data:") == UPDATES + 2, answer.text
    return time.monotonic() - started


async def wait_for(receiver: Any, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(receiver.requests) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_slow_webhook_does_not_slow_a_stream(serve: Serve, receiver: Any) -> None:
    receiver.answers = lambda _: (1.0, 200, "")
    async with serve() as client:
        await stream_seconds(client, "")
        assert await stream_seconds(client, receiver.url) < 0.9
        await wait_for(receiver, 2)
    assert receiver.generations[:2] == [1, 2]


async def test_every_event_of_the_stream_is_pushed_in_order_by_the_next_host_if_need_be(
    serve: Serve, receiver: Any
) -> None:
    receiver.answers = lambda n: (30.0 if n == 2 else 0.0, 200, "")
    async with serve() as client:
        await stream_seconds(client, receiver.url)
        await wait_for(receiver, 2)
    async with serve():
        await wait_for(receiver, UPDATES + 3)
    assert receiver.generations == [1, 2, *range(2, UPDATES + 3)]
    kinds = [next(iter(orjson.loads(body))) for _, body in receiver.requests]
    assert kinds[0] == "task"
    assert kinds[-1] == "statusUpdate"


async def test_a_webhook_that_leads_inside_is_refused_and_leaves_no_task(serve: Serve) -> None:
    async with serve() as client:
        answer = (await call(client, "SendMessage", **sending("http://10.0.0.1/hook"))).json()
        assert answer["error"]["code"] == -32602
        assert "--push-allow 10.0.0.0/8" in answer["error"]["message"]
        assert (await call(client, "ListTasks")).json()["result"].get("tasks", []) == []


async def test_what_did_not_arrive_is_told_to_the_tasks_owner_and_counted(
    serve: Serve, receiver: Any
) -> None:
    receiver.answers = lambda _: (0.0, 410, "")
    async with serve() as client:
        answer = (await call(client, "SendMessage", **sending(receiver.url))).json()
        path = f"/parley/v1/tasks/{answer['result']['task']['id']}/trace"
        await wait_for(receiver, 1)
        async with asyncio.timeout(60):
            while not (told := (await client.get(path)).json()["undelivered"]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert told[0]["givenUp"]
        assert told[0]["reason"] == "the receiver answered 410"
        assert receiver.url not in str(told)
        metrics = (await client.get("/metrics")).text
    assert 'parley_push_attempts_total{result="stop"}' in metrics
    assert "parley_push_given_up" in metrics
    assert "parley_push_pending" in metrics


async def test_a_host_that_is_named_is_pushed_to_though_its_address_is_private_and_the_address_is_not(
    serve: Serve, receiver: Any
) -> None:
    named = receiver.url.replace("127.0.0.1", "localhost")
    assert named != receiver.url
    async with serve("localhost") as client:
        refused = await call(client, "SendMessage", **sending(receiver.url))
        assert "loopback" in refused.text
        answer = await call(client, "SendMessage", **sending(named))
        assert "result" in answer.json()
        await wait_for(receiver, UPDATES + 2)
