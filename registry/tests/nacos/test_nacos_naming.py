"""Instances in a real Nacos: registered, seen, gone when their process is; also two at one address, and many."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nacos_kit import eventually, until

from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.naming import Endpoint, Service
from parley_registry.nacos.server import Nacos

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
async def server(nacos_url: str) -> AsyncIterator[Nacos]:
    async with Nacos(NacosAddress.parse(nacos_url)) as running:
        yield running


@pytest.fixture
def service(server: Nacos) -> Service:
    return Service(server.address.namespace, "agent-endpoints", "____:a_049::1.0.0")


def at(port: int, instance: str = "") -> Endpoint:
    return Endpoint("127.0.0.1", port, {"id": instance or str(port)})


async def test_instances_are_told_when_they_come_and_go(server: Nacos, service: Service) -> None:
    told: list[tuple[Endpoint, ...]] = []
    subscription = server.naming.subscribe(service, told.append)
    await until(lambda: told == [()], 2.0)
    await server.naming.register(service, at(1001))
    await until(lambda: told[-1] == (at(1001),), 3.0)
    await server.naming.register(service, at(1002))
    await until(lambda: told[-1] == (at(1001), at(1002)), 3.0)
    await server.naming.deregister(service, "127.0.0.1", 1001)
    await until(lambda: told[-1] == (at(1002),), 3.0)
    await server.naming.deregister(service, "127.0.0.1", 1002)
    await until(lambda: told[-1] == (), 3.0)
    subscription.close()
    before = len(told)
    await server.naming.register(service, at(1001))
    await eventually(lambda: _has(server, service, 1))
    assert len(told) == before


async def _has(server: Nacos, service: Service, count: int) -> bool:
    return len(await server.naming.instances(service)) == count


async def test_two_replicas_behind_one_address_are_two_instances(
    server: Nacos, service: Service, nacos_url: str
) -> None:
    async with Nacos(NacosAddress.parse(nacos_url)) as other:
        await server.naming.register(service, at(80, "one"))
        await other.naming.register(service, at(80, "two"))
        await eventually(lambda: _has(server, service, 2))
        found = await server.naming.instances(service)
        assert {one.metadata["id"] for one in found} == {"one", "two"}
    await eventually(lambda: _has(server, service, 1), 60.0)


HOST = """
import asyncio, sys
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.naming import Endpoint, Service
from parley_registry.nacos.server import Nacos

async def main(url, name):
    address = NacosAddress.parse(url)
    async with Nacos(address) as nacos:
        await nacos.naming.register(Service(address.namespace, "agent-endpoints", name), Endpoint("127.0.0.1", 7))
        print("there", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main(*sys.argv[1:]))
"""


def host(url: str, service: Service) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, url, service.name],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


async def test_an_instance_is_gone_within_seconds_when_its_process_is_killed(
    server: Nacos, service: Service, nacos_url: str
) -> None:
    told: list[tuple[Endpoint, ...]] = []
    server.naming.subscribe(service, told.append)
    process = await asyncio.to_thread(host, nacos_url, service)
    await until(lambda: told and told[-1], 3.0)
    process.kill()
    assert await until(lambda: told[-1] == (), 3.0) < 3.0
    process.wait()


@pytest.mark.slow
async def test_a_process_that_hung_for_long_is_registered_again_when_it_goes_on(
    server: Nacos, service: Service, nacos_url: str
) -> None:
    told: list[tuple[Endpoint, ...]] = []
    server.naming.subscribe(service, told.append)
    process = await asyncio.to_thread(host, nacos_url, service)
    try:
        await until(lambda: told and told[-1], 3.0)
        os.kill(process.pid, signal.SIGSTOP)
        await until(lambda: told[-1] == (), 40.0)
        os.kill(process.pid, signal.SIGCONT)
        assert await until(lambda: told[-1], 5.0) < 5.0
    finally:
        process.kill()
        process.wait()


async def test_services_come_and_go_by_name(server: Nacos, service: Service) -> None:
    known: set[str] = set()
    watch = server.naming.watch(
        service.namespace,
        service.group,
        lambda name, there: known.add(name) if there else known.discard(name),
    )
    await until(lambda: watch.complete, 3.0)
    await server.naming.register(service, at(1001))
    await until(lambda: known == {service.name}, 2.0)
    assert await server.naming.services(service.namespace, service.group) == [service.name]
    await server.naming.deregister(service, "127.0.0.1", 1001)
    await until(lambda: known == set(), 2.0)


async def test_hundreds_of_subscriptions_live_on_one_connection(server: Nacos, service: Service) -> None:
    services = [service._replace(name=f"s{number}::1.0.0") for number in range(300)]
    told: dict[Service, tuple[Endpoint, ...]] = {}
    for one in services:
        server.naming.subscribe(one, lambda found, one=one: told.__setitem__(one, found))  # type: ignore[misc]
    await until(lambda: len(told) == 300, 20.0)
    for one in services[::50]:
        await server.naming.register(one, at(1001))
    await until(lambda: all(told[one] for one in services[::50]), 5.0)
    assert not any(told[one] for one in services[1::50])


async def test_namespaces_keep_services_of_one_name_apart(server: Nacos, service: Service) -> None:
    elsewhere = service._replace(namespace="public", name=f"{service.name}-{service.namespace}")
    service = service._replace(name=elsewhere.name)
    told: dict[str, tuple[Endpoint, ...]] = {}
    server.naming.subscribe(service, lambda found: told.__setitem__("here", found))
    server.naming.subscribe(elsewhere, lambda found: told.__setitem__("elsewhere", found))
    await until(lambda: len(told) == 2, 3.0)
    await server.naming.register(service, at(1001))
    await until(lambda: told["here"], 3.0)
    assert told["elsewhere"] == ()
