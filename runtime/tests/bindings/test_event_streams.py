"""Streams: the log's bytes on the wire, silence, errors, and clients that go away."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import orjson
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import TaskNotFoundError

from parley_runtime.reader import Outlet
from parley_runtime.store import LoggedEvent
from parley_runtime.streams import Stream

REQUESTS = {
    "jsonrpc": (
        "POST",
        "/a2a/jsonrpc",
        {"jsonrpc": "2.0", "id": "é1", "method": "SubscribeToTask", "params": {"id": "t"}},
    ),
    "rest": ("GET", "/a2a/rest/tasks/t:subscribe", None),
}


@pytest.fixture(params=["jsonrpc", "rest"])
def opened(request: pytest.FixtureRequest, served: Any) -> Callable[..., Any]:
    """Open a stream over one binding."""
    method, path, body = REQUESTS[request.param]

    def open_stream(**headers: str) -> Any:
        return served.client.stream(method, path, json=body, headers=headers)

    return open_stream


def logged(generation: int, text: str = "x") -> LoggedEvent:
    body = orjson.dumps({"statusUpdate": {"taskId": "t", "metadata": {"text": text}}})
    return LoggedEvent(generation, body, pb.TASK_STATE_WORKING, 0.0, 1)


def parsed(text: str) -> list[dict[str, Any]]:
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            data = orjson.loads(fields["data"])
            events.append(fields | {"data": data.get("result", data) if "jsonrpc" in data else data})
    return events


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - polled with a deadline
            await asyncio.sleep(0.01)


async def test_events_arrive_as_logged_each_with_its_generation(
    served: Any, opened: Callable[..., Any]
) -> None:
    served.front.script = [[logged(3)], [logged(4, "a\nb\r "), logged(5, "ü")]]
    async with opened() as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        events = parsed((await response.aread()).decode())
    assert [int(e["id"]) for e in events] == [3, 4, 5]
    texts = [e["data"]["statusUpdate"]["metadata"]["text"] for e in events]
    assert texts == ["x", "a\nb\r ", "ü"]


async def test_the_jsonrpc_id_is_in_every_event(served: Any) -> None:
    served.front.script = [[logged(1)]]
    method, path, body = REQUESTS["jsonrpc"]
    async with served.client.stream(method, path, json=body) as response:
        [line] = [x async for x in response.aiter_lines() if x.startswith("data: ")]
    assert orjson.loads(line[6:])["id"] == "é1"


async def test_a_stream_goes_on_after_last_event_id(served: Any, opened: Callable[..., Any]) -> None:
    async with opened(**{"Last-Event-ID": "17"}) as response:
        await response.aread()
    assert served.front.calls[0][3] == 17


@pytest.mark.parametrize("bad", ["-1", "x", "1.5", "9" * 30])
async def test_a_last_event_id_that_is_no_generation_is_refused(
    served: Any, opened: Callable[..., Any], bad: str
) -> None:
    async with opened(**{"Last-Event-ID": bad}) as response:
        error = orjson.loads(await response.aread())["error"]
    assert error["code"] in (-32602, 400)
    assert not served.front.calls


async def test_a_refusal_is_a_plain_answer_without_a_stream(served: Any, opened: Callable[..., Any]) -> None:
    served.front.answer = TaskNotFoundError()
    async with opened() as response:
        assert "json" in response.headers["content-type"]
        assert orjson.loads(await response.aread())["error"]["code"] in (-32001, 404)


@pytest.mark.parametrize("failure", [TaskNotFoundError(), RuntimeError("hunter2")])
async def test_a_later_error_is_the_streams_last_event(
    served: Any, opened: Callable[..., Any], failure: Exception
) -> None:
    served.front.script = [[logged(1)], failure]
    async with opened() as response:
        text = (await response.aread()).decode()
    first, last = parsed(text)
    assert (first["id"], last["event"]) == ("1", "error")
    assert last["data"]["error"]["code"] in (
        (-32001, 404) if "hunter2" not in str(failure) else (-32603, 500)
    )
    assert "hunter2" not in text


async def test_silence_is_filled_with_comments(served: Any, opened: Callable[..., Any]) -> None:
    served.front.script, served.front.hold = [[logged(1)]], True
    async with opened() as response:
        comments = 0
        async for line in response.aiter_lines():
            comments += line.startswith(":")
            if comments == 2:
                break
    await until(lambda: served.app.open_streams == 0)


async def test_a_client_that_goes_frees_its_stream_at_once(served: Any, opened: Callable[..., Any]) -> None:
    served.front.script, served.front.hold = [[logged(1)]], True
    async with opened() as response:
        await anext(response.aiter_lines())
        assert served.app.open_streams == 1
    await asyncio.wait_for(served.front.closed.wait(), 2)
    assert served.app.open_streams == 0


async def test_a_draining_host_ends_streams_cleanly(served: Any, opened: Callable[..., Any]) -> None:
    served.front.script, served.front.hold = [[logged(1)]], True
    async with opened() as response:
        lines = response.aiter_lines()
        await anext(lines)
        served.app.end_streams()
        rest = [line async for line in lines]
    assert any(line.startswith("data: ") for line in rest)
    assert served.front.closed.is_set()


async def test_one_slow_reader_holds_up_nobody(served: Any) -> None:
    big = logged(1, "x" * 200_000)
    served.front.script = [[big]] * 50
    stuck_reader, stuck_writer = await asyncio.open_connection(
        "127.0.0.1", int(served.url.rpartition(":")[2])
    )
    stuck_writer.write(
        b"GET /a2a/rest/tasks/t:subscribe HTTP/1.1\r\nHost: 127.0.0.1\r\nA2A-Version: 1.0\r\n\r\n"
    )
    await until(lambda: served.app.open_streams == 1)
    answer = await asyncio.wait_for(served.client.get("/a2a/rest/tasks/t:subscribe"), 5)
    assert answer.text.count("id: 1") == 50
    stuck_writer.close()
    with contextlib.suppress(ConnectionError):
        await stuck_writer.wait_closed()
    await until(lambda: served.app.open_streams == 0)
    del stuck_reader


async def test_an_app_works_in_a_server_that_is_not_uvicorn(build: Callable[..., Any]) -> None:
    """The plain ASGI contract: no event follows the last, and the scope may be the caller's own."""

    class Front:
        card = pb.AgentCard(name="x")

        async def subscribe_stream(self, *_: Any) -> AsyncIterator[Any]:
            async def play() -> AsyncIterator[Any]:
                yield [logged(1)]

            return play()

    sent: list[Any] = []
    waiting = asyncio.Event()
    received = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if received:
            return received.pop()
        await waiting.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/a2a/rest/tasks/t:subscribe",
        "query_string": b"",
        "headers": [(b"a2a-version", b"1.0")],
    }
    await build(Front())(scope, receive, send)
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body", "http.response.body"]
    assert sent[-1]["more_body"] is False


class Piped:
    """A stream that begins with one event and goes on through its outlet."""

    def __init__(self, served: Any) -> None:
        self.outlet = Outlet()
        self.ending = asyncio.Event()
        served.front._play = lambda: Stream(self._events(), self.outlet)

    async def _events(self) -> AsyncGenerator[Sequence[LoggedEvent], None]:
        yield [logged(1)]
        await self.ending.wait()
        yield [logged(9)]

    async def write(self, events: Sequence[LoggedEvent]) -> bool:
        await until(lambda: self.outlet.write is not None)
        assert self.outlet.write is not None
        return self.outlet.write(events)


async def test_what_is_written_to_the_outlet_stands_between_what_comes_before_and_after(
    served: Any, opened: Callable[..., Any]
) -> None:
    piped = Piped(served)
    async with opened() as response:
        assert await piped.write([logged(2), logged(3)])
        assert await piped.write([logged(4)])
        piped.ending.set()
        events = parsed((await response.aread()).decode())
    assert [int(e["id"]) for e in events] == [1, 2, 3, 4, 9]
    assert piped.outlet.write is None


async def test_a_client_that_does_not_read_fills_no_memory_through_the_outlet(
    served: Any, opened: Callable[..., Any]
) -> None:
    piped = Piped(served)
    async with opened():
        taken = 0
        while await piped.write([logged(2, "x" * 100_000)]):
            taken += 1
            assert taken < 500, "it takes whatever comes"


async def test_an_outlet_takes_nothing_once_its_client_has_gone(
    served: Any, opened: Callable[..., Any]
) -> None:
    piped = Piped(served)
    async with opened():
        assert await piped.write([logged(2)])
        write = piped.outlet.write
    await until(lambda: served.app.open_streams == 0)
    assert write is not None
    assert not write([logged(3)])
