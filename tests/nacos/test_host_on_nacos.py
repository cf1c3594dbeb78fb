"""A real host publishes itself straight into a real Nacos, and stays found whatever happens to Nacos, the network, or itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nacos_host import HostProcess
from nacos_kit import eventually

from engines.links import Condition
from engines.nacos import Nacos as Server
from engines.nacos_link import NacosLink
from parley_registry.client import Registry, UnknownAgent, connect
from parley_registry.nacos.address import NacosAddress

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

STARTED = 120.0
"""Seconds that a host may take to start: on a machine that runs other tests it has taken more than 30."""


@pytest.fixture
async def registry(nacos_url: str) -> AsyncIterator[Registry]:
    found = connect(nacos_url)
    yield found
    await found.aclose()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(short_lived=True) as running:
        yield running


@pytest.fixture
def own_url(server: Server) -> str:
    return server.address(server.create_namespace())


async def health(registry: Registry) -> str:
    try:
        return (await registry.get("echo")).health
    except UnknownAgent:
        return ""


async def test_a_host_is_found_while_it_runs_and_withdraws_itself_when_it_stops(
    registry: Registry, nacos_url: str, tmp_path: Path
) -> None:
    with HostProcess(tmp_path, nacos_url) as host:
        await eventually(host.ready, STARTED)
        found = await registry.get("echo")
        assert found.health == "up"
        assert [one.url for one in found.instances] == [f"{host.url}/a2a/jsonrpc"]
        assert found.card.supported_interfaces[0].url == f"{host.url}/a2a/jsonrpc"
        assert await host.answers()
        assert await asyncio.to_thread(host.stop) == 0
        await eventually(lambda: _is(registry, "down"), 60.0)
        assert (await registry.get("echo")).card.name == "echo"
        assert NacosAddress.parse(nacos_url).password not in host.log


async def _is(registry: Registry, wanted: str) -> bool:
    return await health(registry) == wanted


async def test_a_host_that_is_killed_is_gone_within_seconds(
    registry: Registry, nacos_url: str, tmp_path: Path
) -> None:
    with HostProcess(tmp_path, nacos_url) as host:
        await eventually(host.ready, STARTED)
        await asyncio.to_thread(host.kill)
        began = time.monotonic()
        await eventually(lambda: _is(registry, "down"), 60.0)
        assert time.monotonic() - began < 20.0


async def test_a_host_whose_agent_was_deleted_publishes_itself_again(
    registry: Registry, nacos_url: str, tmp_path: Path
) -> None:
    with HostProcess(tmp_path, nacos_url) as host:
        await eventually(host.ready, STARTED)
        await registry.delete("echo")
        await eventually(lambda: _is(registry, "up"), 60.0)


async def test_a_host_outlives_a_restart_of_nacos_and_is_found_again(
    server: Server, own_url: str, tmp_path: Path
) -> None:
    registry = connect(own_url)
    with HostProcess(tmp_path, own_url) as host:
        await eventually(host.ready, STARTED)
        await asyncio.to_thread(server.kill)

        async def said_so() -> bool:
            return (await host.readyz()).get("status") == "not in the registry yet"

        await eventually(said_so, 60.0)
        assert await host.answers()
        await asyncio.to_thread(server.start)
        began = time.monotonic()
        await eventually(lambda: _is(registry, "up"), 60.0)
        assert time.monotonic() - began < 40.0
        await eventually(host.ready, 60.0)
        assert await asyncio.to_thread(host.stop) == 0
    await registry.aclose()


@pytest.fixture
async def link(server: Server) -> AsyncIterator[NacosLink]:
    """A way to the server that can be cut; not open yet."""
    made = NacosLink(server)
    yield made
    await made.close()


async def test_a_host_serves_before_there_is_a_nacos_and_publishes_itself_when_there_is(
    own_url: str, link: NacosLink, tmp_path: Path
) -> None:
    registry = connect(own_url)
    with HostProcess(tmp_path, link.address(NacosAddress.parse(own_url).namespace)) as host:
        await eventually(lambda: _answers(host), STARTED)
        assert (await host.readyz())["status"] == "not in the registry yet"
        await link.start()
        await eventually(host.ready, 60.0)
        assert await health(registry) == "up"
        assert "is Nacos running there?" in host.log
    await registry.aclose()


async def _answers(host: HostProcess) -> bool:
    return bool(await host.readyz()) and await host.answers()


@pytest.mark.parametrize("condition", ["black", "cut"])
async def test_a_cut_network_heals(
    own_url: str, link: NacosLink, tmp_path: Path, condition: Condition
) -> None:
    registry = connect(own_url)
    await link.start()
    with HostProcess(tmp_path, link.address(NacosAddress.parse(own_url).namespace)) as host:
        await eventually(host.ready, STARTED)
        await link.set(condition)

        async def said_so() -> bool:
            return (await host.readyz()).get("status") == "not in the registry yet"

        await eventually(said_so, 60.0)
        assert await host.answers()
        await link.set("whole")
        await eventually(host.ready, 60.0)
        await eventually(lambda: _is(registry, "up"), 60.0)
    await registry.aclose()


@pytest.mark.slow
async def test_a_host_that_hung_for_long_is_found_again(
    registry: Registry, nacos_url: str, tmp_path: Path
) -> None:
    with HostProcess(tmp_path, nacos_url) as host:
        await eventually(host.ready, STARTED)
        host.pause()
        try:
            await eventually(lambda: _is(registry, "down"), 45.0)
        finally:
            host.resume()
        await eventually(lambda: _is(registry, "up"), 60.0)
        await eventually(host.ready, 60.0)


async def test_a_wrong_password_is_said_once_and_the_right_one_heals(
    server: Server, own_url: str, tmp_path: Path
) -> None:
    address = NacosAddress.parse(own_url)
    wrong = own_url.replace(address.password, "the-next-password")
    registry = connect(wrong)
    with HostProcess(tmp_path, wrong) as host:
        await eventually(lambda: _answers(host), STARTED)
        await eventually(lambda: _said(host, "correct user and password"), 60.0)
        assert (await host.readyz())["status"] == "not in the registry yet"
        await asyncio.sleep(2.0)  # long enough for several attempts
        warnings = [line for line in host.log.splitlines() if " warning " in line]
        assert sum("correct user and password in the registry's address" in line for line in warnings) == 1
        form = {"username": address.user, "newPassword": "the-next-password"}
        await asyncio.to_thread(server.call, "PUT", "/v3/auth/user", form)
        await eventually(host.ready, 60.0)
        await eventually(lambda: _is(registry, "up"), 60.0)
        assert "the-next-password" not in host.log
        assert address.password not in host.log
    await registry.aclose()


async def _said(host: HostProcess, text: str) -> bool:
    return text in host.log
