"""Who leads, by an API server that takes its time. The server here is a fake, for faults that a real one has seldom."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from test_kube_wire import fake_api

from parley_operator.kube.client import Kube
from parley_operator.kube.lease import Leadership, Times

WAIT = 90.0


class FakeLeases:
    """Keeps one lease; answers each method after so many seconds."""

    def __init__(self, **slow: float) -> None:
        self.slow = slow
        self.calls: list[str] = []
        self._lease: dict[str, Any] | None = None
        self._versions = itertools.count(1)

    async def answer(self, request: web.Request) -> web.Response:
        self.calls.append(request.method)
        await asyncio.sleep(self.slow.get(request.method, 0.0))
        if request.method == "GET":
            if self._lease is None:
                return web.json_response({"kind": "Status", "reason": "NotFound", "code": 404}, status=404)
            return web.json_response(self._lease)
        told = await request.json()
        known = (self._lease or {}).get("metadata", {}).get("resourceVersion")
        if request.method == "PUT" and told["metadata"].get("resourceVersion") != known:
            return web.json_response({"kind": "Status", "reason": "Conflict", "code": 409}, status=409)
        self._lease = told
        told["metadata"]["resourceVersion"] = str(next(self._versions))
        return web.json_response(told)

    def touch(self) -> None:
        """Somebody writes an annotation."""
        assert self._lease is not None
        self._lease["metadata"]["resourceVersion"] = str(next(self._versions))


@asynccontextmanager
async def leading(leases: FakeLeases, times: Times) -> AsyncIterator[Leadership]:
    async with fake_api(leases.answer, timeout=WAIT) as wire:
        leadership = Leadership(Kube(wire), "n", "lease", "one", times)
        running = asyncio.create_task(leadership.run(lambda: None))
        try:
            yield leadership
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_reading_the_lease_slowly_keeps_nobody_from_leading() -> None:
    times = Times(duration=40.0, margin=36.0, retry=0.5)
    assert times.patience == 3.5
    async with leading(FakeLeases(GET=times.patience + 1.0), times) as one:
        await asyncio.wait_for(one.leads.wait(), WAIT)


async def test_a_renewal_is_one_call_until_somebody_changes_the_lease() -> None:
    leases = FakeLeases()
    async with leading(leases, Times(duration=200.0, margin=1.0, retry=0.05)) as one:
        await until(lambda: leases.calls.count("PUT") >= 5)
        assert leases.calls.count("GET") == 1
        leases.touch()
        await until(lambda: leases.calls.count("GET") >= 2)
        before = leases.calls.count("PUT")
        await until(lambda: leases.calls.count("PUT") >= before + 3)
        assert one.leads.is_set()
        assert leases.calls.count("GET") == 2


async def test_who_cannot_renew_in_time_says_how_long_that_may_take(caplog: pytest.LogCaptureFixture) -> None:
    leases = FakeLeases(POST=3600.0)
    async with leading(leases, Times(duration=4.0, margin=1.0, retry=1.0)) as one:
        await until(lambda: "no answer within 2.0 s" in caplog.text)
        assert "--lease" in caplog.text
        assert not one.leads.is_set()
        leases.slow.clear()
        await asyncio.wait_for(one.leads.wait(), WAIT)


async def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT
    while True:
        if holds():
            return
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)
