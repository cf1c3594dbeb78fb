"""What hosts and strangers answer is read no further than is sound."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from parley_operator.hosts import Hosts, HostUnavailable


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def versions(request: web.Request) -> web.Response:
        if request.query["since"] == "1":
            return web.Response(body=b" " * (16 * 2**20 + 1))
        if request.query["since"] == "2":
            return web.Response(status=503)
        return web.json_response({"versions": []})

    app = web.Application()
    app.router.add_get("/parley/v1/versions", versions)
    async with TestServer(app) as server:
        yield server


async def test_a_host_that_answers_without_end_or_with_an_error_is_one_that_does_not_answer(
    server: TestServer,
) -> None:
    service = {"metadata": {"name": "a", "namespace": "n"}, "spec": {"clusterIP": "127.0.0.1"}}
    async with Hosts(f"http://127.0.0.1:{server.port}") as hosts:
        assert await hosts.figures(service, 3) == {}
        with pytest.raises(HostUnavailable, match="more than 16 MiB"):
            await hosts.figures(service, 1)
        with pytest.raises(HostUnavailable, match="answers 503 to GET"):
            await hosts.figures(service, 2)
