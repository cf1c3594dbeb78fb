"""Nacos goes, hangs and comes back; the network is cut: what was to be there is there again, and nothing waits for long."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator

import psutil
import pytest
from nacos_cards import checked
from nacos_kit import eventually, until

from engines.links import Condition
from engines.nacos import Nacos as Server
from engines.nacos_link import NacosLink
from parley_registry.errors import RegistryUnavailable
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.changes import AgentChanges
from parley_registry.nacos.config import ConfigKey
from parley_registry.nacos.lock import HOLD
from parley_registry.nacos.naming import Endpoint, Service
from parley_registry.nacos.server import Nacos

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

HERE = Endpoint("127.0.0.1", 1001, {"id": "one"})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(short_lived=True) as running:
        yield running


@pytest.fixture
def address(server: Server) -> NacosAddress:
    return NacosAddress.parse(server.address(server.create_namespace()))


@pytest.fixture
async def link(server: Server) -> AsyncIterator[NacosLink]:
    """A way to the server that can be cut; not open yet."""
    made = NacosLink(server)
    yield made
    await made.close()


@pytest.fixture
async def nacos(address: NacosAddress) -> AsyncIterator[Nacos]:
    async with Nacos(address) as running:
        yield running


class Seen:
    """What a subscriber and a listener were told last."""

    def __init__(self, nacos: Nacos) -> None:
        self.service = Service(nacos.address.namespace, "agent-endpoints", "a::1.0.0")
        self.key = ConfigKey(nacos.address.namespace, "parley-tests", "a")
        self.instances: tuple[Endpoint, ...] | None = None
        self.config: str | None = None
        nacos.naming.subscribe(self.service, lambda found: setattr(self, "instances", found))
        nacos.configs.listen(self.key, lambda found: setattr(self, "config", found.text if found else None))


async def test_after_a_restart_of_the_server_all_is_there_again(
    nacos: Nacos, server: Server, address: NacosAddress
) -> None:
    seen = Seen(nacos)
    told: list[str] = []
    changes = AgentChanges(nacos.agents, nacos.configs, address.namespace, told.append)
    changes.start()
    await nacos.naming.register(seen.service, HERE)
    await nacos.configs.publish(seen.key, "before")
    await until(lambda: seen.instances == (HERE,) and seen.config == "before")

    server.kill()
    began = time.monotonic()
    with pytest.raises(RegistryUnavailable, match=r"does not answer|broke off|ended"):
        await nacos.naming.instances(seen.service)
    with pytest.raises(RegistryUnavailable, match="is Nacos running there"):
        await nacos.agents.get(address.namespace, "a")
    assert time.monotonic() - began < 20
    await asyncio.to_thread(server.start)

    async with Nacos(address) as other:
        there = eventually(lambda: other.naming.instances(seen.service), 60.0)
        assert await there == (HERE,)
        await other.configs.publish(seen.key, "after")
        await other.agents.publish(address.namespace, checked("a"))
        await until(lambda: seen.config == "after" and "a" in told, 10.0)
        await other.naming.register(seen.service, Endpoint("127.0.0.1", 1002))
        await until(lambda: seen.instances and len(seen.instances) == 2, 10.0)
    await changes.close()


async def test_a_server_that_hangs_and_goes_on_knows_everything(nacos: Nacos, server: Server) -> None:
    seen = Seen(nacos)
    await nacos.naming.register(seen.service, HERE)
    await until(lambda: seen.instances == (HERE,))
    server.pause()
    try:
        await until(lambda: not nacos.connection.live, 15.0)
    finally:
        server.resume()
    await until(lambda: nacos.connection.live, 15.0)

    async def there() -> bool:
        return await nacos.naming.instances(seen.service) == (HERE,)

    await eventually(there, 60.0)


@pytest.mark.slow
async def test_a_partition_ends_the_instances_and_its_end_brings_them_back(
    nacos: Nacos, link: NacosLink
) -> None:
    await link.start()
    seen = Seen(nacos)
    async with Nacos(NacosAddress.parse(link.address(nacos.address.namespace))) as inside:
        await inside.naming.register(seen.service, HERE)
        await until(lambda: seen.instances == (HERE,))
        await link.set("black")
        assert await until(lambda: not inside.connection.live, 15.0) < 10.0
        with pytest.raises(RegistryUnavailable):
            await inside.naming.instances(seen.service)
        await until(lambda: seen.instances == (), 40.0)
        await link.set("whole")
        assert await until(lambda: seen.instances == (HERE,), 15.0) < 10.0


@pytest.mark.parametrize("condition", ["black", "cut"])
async def test_a_short_cut_of_the_network_is_bridged(
    address: NacosAddress, link: NacosLink, condition: Condition
) -> None:
    await link.start()
    async with Nacos(NacosAddress.parse(link.address(address.namespace))) as nacos:
        seen = Seen(nacos)
        await nacos.naming.register(seen.service, HERE)
        await until(lambda: seen.instances == (HERE,))
        await link.set(condition)
        await asyncio.sleep(1.0)
        await link.set("whole")
        await until(lambda: nacos.connection.live, 5.0)
        await nacos.configs.publish(seen.key, "x")
        await until(lambda: seen.config == "x" and seen.instances == (HERE,), 5.0)


async def test_a_server_that_is_not_there_yet_is_waited_for_in_the_background(
    address: NacosAddress, link: NacosLink
) -> None:
    async with Nacos(NacosAddress.parse(link.address(address.namespace))) as nacos:
        with pytest.raises(RegistryUnavailable, match="does not answer"):
            await nacos.naming.services(address.namespace, "agent-endpoints")
        await link.start()
        await until(lambda: nacos.connection.live, 10.0)
        assert await nacos.naming.services(address.namespace, "agent-endpoints") == []


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("without_collector")
async def test_a_connection_that_ended_is_really_closed(
    address: NacosAddress, own_connections: Callable[[], int]
) -> None:
    async with Nacos(address) as nacos:
        await nacos.naming.instances(Service("public", "g", "n"))
        assert own_connections() == 1
        nacos.connection._broken.set()
        await until(lambda: not nacos.connection.live)
        await until(lambda: nacos.connection.live)
        await until(lambda: own_connections() == 1, 2.0)
    await until(lambda: own_connections() == 0, 2.0)


@pytest.fixture
def own_connections(address: NacosAddress) -> Callable[[], int]:
    port = address.servers[0].port + 1000

    def count() -> int:
        return sum(1 for one in psutil.Process().net_connections() if one.raddr and one.raddr.port == port)

    return count


async def test_of_several_servers_one_that_answers_is_found(address: NacosAddress) -> None:
    from parley_registry.nacos.address import Server as Place

    several = NacosAddress(
        (Place("127.0.0.1", 1), *address.servers), address.namespaces, address.user, address.password
    )
    async with Nacos(several) as nacos:
        assert await nacos.agents.versions(address.namespace, "nobody") == []
        await until(lambda: nacos.connection.live, 5.0)


async def test_beyond_what_nacos_tells_of_agents_are_found_by_asking(
    own_nacos: Callable[..., Server],
) -> None:
    few = {"nacos.config.fuzzy.watch.max.pattern.match.config.count": "3"}
    server = await asyncio.to_thread(own_nacos, settings=few)
    address = NacosAddress.parse(server.url)
    async with Nacos(address) as nacos, Nacos(address) as other:
        told: list[str] = []
        for number in range(4):
            await nacos.agents.publish("public", checked(f"early-{number}"))
        changes = AgentChanges(nacos.agents, nacos.configs, "public", told.append)
        changes.start()
        try:
            await until(lambda: len(told) == 4)
            await other.agents.publish("public", checked("late"))
            assert await until(lambda: "late" in told, 8.0) < 6.0
            assert not changes.pushed
            await other.agents.delete("public", "late")
            told.clear()
            await until(lambda: "late" in told, 8.0)
            told.clear()
            await other.agents.publish("public", checked("early-3", "9.0.0"))
            assert await until(lambda: "early-3" in told, 3.0) < 2.0  # who is known is pushed
        finally:
            await changes.close()


@pytest.mark.slow
async def test_a_writer_that_died_with_the_lock_holds_up_others_for_a_quarter_of_a_minute(
    nacos: Nacos,
) -> None:
    here = nacos.address.namespace
    lock = {"key": f"parley/{here}/a", "expiredTime": int(HOLD * 1000), "lockType": "NACOS_LOCK"}
    operation = {"lockInstance": lock, "lockOperationEnum": "ACQUIRE"}
    assert (await nacos.connection.call("LockOperationRequest", operation))["result"]
    began = time.monotonic()
    assert await nacos.agents.publish(here, checked("a"))
    assert HOLD - 1 < time.monotonic() - began < HOLD + 5
