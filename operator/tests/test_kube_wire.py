"""Calls to an API server that throttles, breaks off and refuses. The server here is a fake, for faults that a real one has seldom."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from parley_operator.kube.access import Access
from parley_operator.kube.client import Kube
from parley_operator.kube.errors import ApiUnavailable, Claim, FieldConflict, Gone, NotFound, NotLeading
from parley_operator.kube.events import Events, Told
from parley_operator.kube.kinds import AGENT
from parley_operator.kube.wire import Wire

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OBJECT = {"apiVersion": AGENT.api, "kind": "Agent", "metadata": {"namespace": "n", "name": "a"}}


@asynccontextmanager
async def fake_api(handler: Handler, *, timeout: float = 5.0) -> AsyncIterator[Wire]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with Wire(Access(f"http://127.0.0.1:{port}", None, None, "n"), timeout=timeout) as wire:
            yield wire
    finally:
        await runner.cleanup()


def refusing(status: int, reason: str, **more: object) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        told = {"kind": "Status", "reason": reason, "message": f"{reason}!", "code": status, **more}
        return web.json_response(told, status=status)

    return handler


async def test_a_throttled_call_is_sent_again_when_the_server_says() -> None:
    times: list[float] = []

    async def handler(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        if len(times) < 3:
            return web.Response(status=429, headers={"retry-after": "1"})
        return web.json_response(OBJECT)

    async with fake_api(handler, timeout=10) as wire:
        assert await Kube(wire).apply(OBJECT) == OBJECT
    assert len(times) == 3
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))


async def test_who_is_throttled_for_too_long_is_told_that_there_is_no_answer() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"retry-after": "1"})

    async with fake_api(handler, timeout=1.5) as wire:
        with pytest.raises(ApiUnavailable):
            await Kube(wire).get(AGENT, "n", "a")


async def test_no_answer_and_a_broken_one_are_both_no_answer() -> None:
    async def silent(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with fake_api(silent) as wire:
        with pytest.raises(ApiUnavailable):
            await Kube(wire).get(AGENT, "n", "a")
    async with Wire(Access("http://127.0.0.1:1", None, None, "n"), timeout=1) as wire:
        with pytest.raises(ApiUnavailable, match="does not answer"):
            await Kube(wire).get(AGENT, "n", "a")


async def test_fields_that_others_own_are_named_with_who_owns_them() -> None:
    cause = {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "kubectl-edit" using apps/v1',
        "field": ".spec.replicas",
    }
    async with fake_api(refusing(409, "Conflict", details={"causes": [cause]})) as wire:
        with pytest.raises(FieldConflict) as refused:
            await Kube(wire).apply(OBJECT)
    assert refused.value.claims == (Claim(".spec.replicas", "kubectl-edit"),)


async def test_what_is_gone_already_need_not_be_deleted() -> None:
    async with fake_api(refusing(404, "NotFound")) as wire:
        await Kube(wire).delete(AGENT, "n", "a")
        with pytest.raises(NotFound):
            await Kube(wire).get(AGENT, "n", "a")


async def test_behind_the_fence_nothing_is_sent_and_reading_goes_on() -> None:
    left = 5.0
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.method)
        return web.json_response(OBJECT)

    async with fake_api(handler) as wire:
        kube = Kube(wire, left=lambda: left)
        await kube.apply(OBJECT)
        left = 0.0
        with pytest.raises(NotLeading):
            await kube.apply(OBJECT)
        await kube.get(AGENT, "n", "a")
    assert seen == ["PATCH", "GET"]


async def test_a_write_is_not_waited_for_beyond_the_fence() -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response(OBJECT)

    async with fake_api(slow) as wire:
        started = time.monotonic()
        with pytest.raises(ApiUnavailable):
            await Kube(wire, left=lambda: 0.3).apply(OBJECT)
        assert time.monotonic() - started < 3


async def test_a_watch_takes_lines_of_any_length_and_tells_of_a_version_that_is_gone() -> None:
    large = "x" * 500_000

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        line = f'{{"type":"ADDED","object":{{"metadata":{{"name":"{large}"}}}}}}\n'
        for start in range(0, len(line), 100_001):
            await answer.write(line[start : start + 100_001].encode())
        await answer.write(
            b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'
        )
        return answer

    async with fake_api(handler) as wire:
        events = Kube(wire).watch(AGENT, None, "1")
        what, obj = await anext(events)
        assert (what, len(obj["metadata"]["name"])) == ("ADDED", 500_000)
        with pytest.raises(Gone):
            await anext(events)


async def test_what_answers_in_the_servers_place_is_no_answer() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="<html>\nWelcome to the proxy</html>", content_type="text/html")

    async with fake_api(handler) as wire:
        with pytest.raises(ApiUnavailable, match="JSON"):
            await Kube(wire).get(AGENT, "n", "a")
        with pytest.raises(ApiUnavailable):
            _ = [one async for one in Kube(wire).watch(AGENT, "n", "1")]


async def test_an_event_is_told_in_as_many_bytes_as_the_server_takes() -> None:
    notes: asyncio.Queue[str] = asyncio.Queue()

    async def handler(request: web.Request) -> web.Response:
        notes.put_nowait((await request.json())["note"])
        return web.json_response(OBJECT, status=201)

    async with fake_api(handler) as wire:
        events = Events(Kube(wire), "me")
        events.tell(Told(OBJECT, "Warning", "AnalysisFailed", "ä" * 2000))
        running = asyncio.create_task(events.run())
        told = await asyncio.wait_for(notes.get(), 60)
        running.cancel()
        await asyncio.wait([running])
    assert told == "ä" * 512
