"""A registry that is Nacos itself: what hosts and tools do with it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict
from nacos_cards import checked, full_card
from nacos_kit import eventually, until
from registry_service import RegistryThread

from parley_core import signingkeys
from parley_core.cardsignature import sign
from parley_core.errors import ConfigurationError
from parley_registry.client import McpKey, Registry, RegistryClient, connect, nearest
from parley_registry.entry import Change, Instance
from parley_registry.errors import (
    CardRejected,
    LatestInUse,
    NotAllowed,
    RegistryUnavailable,
    RolloutConflict,
    RolloutRejected,
    UnknownAgent,
    UnknownInstance,
    UnknownMcpServer,
    VersionConflict,
    VersionInUse,
)
from parley_registry.mcp.check import check_server
from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.catalogues import announce_catalogue
from parley_registry.nacos.layout import service_of
from parley_registry.nacos.mcp import NacosMcp
from parley_registry.nacos.registry import NacosRegistry
from parley_registry.nacos.server import Nacos
from parley_registry.rollout import Rollout, RolloutVersion

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
async def registry(nacos_url: str) -> AsyncIterator[Registry]:
    found = connect(nacos_url)
    assert isinstance(found, NacosRegistry)
    yield found
    await found.aclose()


def card(
    name: str = "coder", version: str = "1.0.0", at: str = "http://127.0.0.1:9001/a2a/jsonrpc"
) -> AgentCard:
    told = full_card(name, version)
    told["supportedInterfaces"] = [{"url": at, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    del told["signatures"]
    return ParseDict(told, AgentCard())


async def test_a_published_host_is_up_where_it_says_and_down_when_it_is_withdrawn(registry: Registry) -> None:
    instance = Instance("coder-1", "http://127.0.0.1:9001/a2a/jsonrpc")
    entry = await registry.publish(card(), instance=instance)
    assert (entry.name, entry.version, entry.latest, entry.namespace) == (
        "coder",
        "1.0.0",
        True,
        registry.namespace,
    )

    async def up() -> bool:
        found = await registry.get("coder")
        return found.health == "up" and found.instances == (instance,)

    await eventually(up)
    await registry.heartbeat("coder", "1.0.0", "coder-1")
    await registry.withdraw("coder", "1.0.0", "coder-1")

    async def down() -> bool:
        found = await registry.get("coder")
        return found.health == "down" and found.instances == ()

    await eventually(down)
    with pytest.raises(UnknownInstance):
        await registry.heartbeat("coder", "1.0.0", "coder-1")
    await registry.withdraw("coder", "1.0.0", "coder-1")


async def test_an_entry_names_the_addresses_of_all_its_live_instances(
    registry: Registry, nacos_url: str
) -> None:
    second = connect(nacos_url)
    try:
        for number, one in enumerate((registry, second)):
            at = f"http://127.0.0.1:900{number}/a2a/jsonrpc"
            await one.publish(card(at=at), instance=Instance(f"coder-{number}", at))

        async def both() -> bool:
            return len((await registry.get("coder")).instances) == 2

        await eventually(both)
        found = await registry.get("coder")
        assert {one.url for one in found.card.supported_interfaces} == {
            "http://127.0.0.1:9000/a2a/jsonrpc",
            "http://127.0.0.1:9001/a2a/jsonrpc",
        }
    finally:
        await second.aclose()


async def test_a_host_whose_version_was_deleted_is_told_to_publish_again(
    registry: Registry, nacos_url: str
) -> None:
    await registry.publish(card(), instance=Instance("coder-1", "http://127.0.0.1:9001"))
    other = connect(nacos_url)
    try:
        await registry.heartbeat("coder", "1.0.0", "coder-1")
        await other.delete("coder")

        async def told() -> bool:
            try:
                await registry.heartbeat("coder", "1.0.0", "coder-1")
            except UnknownInstance:
                return True
            return False

        await eventually(told, 60.0)
        await registry.publish(card(), instance=Instance("coder-1", "http://127.0.0.1:9001"))
        assert (await other.get("coder")).version == "1.0.0"
    finally:
        await other.aclose()


async def test_versions_are_listed_highest_first_and_rolled_back(registry: Registry) -> None:
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        await registry.publish(card(version=version))
    assert [one.version for one in await registry.versions("coder")] == ["1.10.0", "1.9.0", "1.0.0"]
    assert (await registry.set_latest("coder", "1.9.0")).latest
    assert (await registry.get("coder")).version == "1.9.0"
    with pytest.raises(UnknownAgent, match=r"it has 1[.]10[.]0, 1[.]9[.]0, 1[.]0[.]0"):
        await registry.set_latest("coder", "3.0.0")
    with pytest.raises(UnknownAgent, match="no agent named 'nobody'"):
        await registry.get("nobody")
    with pytest.raises(UnknownAgent):
        await registry.versions("nobody")
    with pytest.raises(UnknownAgent):
        await registry.delete("nobody")


async def test_what_is_in_use_cannot_be_deleted(registry: Registry) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        await registry.publish(card(version=version))
    with pytest.raises(LatestInUse):
        await registry.delete("coder", "1.2.0")
    table = (RolloutVersion("1.1.0", "Ramping", 10), RolloutVersion("1.2.0", "Current", 90))
    await registry.set_rollout(Rollout(registry.namespace, "coder", table), 0)
    with pytest.raises(VersionInUse, match="gets 10 %"):
        await registry.delete("coder", "1.1.0")
    await registry.publish(card(version="1.0.0"), instance=Instance("coder-1", "http://127.0.0.1:9001"))

    async def up() -> bool:
        return (await registry.get("coder", "1.0.0")).health == "up"

    await eventually(up)
    with pytest.raises(VersionInUse, match="running instances"):
        await registry.delete("coder", "1.0.0")
    await registry.delete("coder")
    assert (await registry.rollout("coder")).revision == 0


async def test_bad_cards_and_other_cards_are_refused_as_by_the_service(registry: Registry) -> None:
    with pytest.raises(CardRejected) as rejected:
        await registry.publish(card(version="newest", at="javascript:alert(1)"))
    assert {fault.field for fault in rejected.value.faults} == {"version", "supportedInterfaces[0].url"}
    await registry.publish(card())
    other = card()
    other.description = "another"
    with pytest.raises(VersionConflict):
        await registry.publish(other)


async def test_a_rollout_table_is_pushed_within_a_second_and_changed_only_by_who_read_it(
    registry: Registry, nacos_url: str
) -> None:
    for version in ("1.0.0", "1.1.0"):
        await registry.publish(card("研究員", version))
    other = connect(nacos_url)
    watched = other.watch_rollouts("研究員")
    try:
        assert await anext(watched) == Rollout(registry.namespace, "研究員")
        table = (RolloutVersion("1.0.0", "Current", 99.5), RolloutVersion("1.1.0", "Ramping", 0.5))
        kept = await registry.set_rollout(Rollout(registry.namespace, "研究員", table), 0)
        assert kept.versions == table
        assert await anext(watched) == kept
        assert await other.rollout("研究員") == kept
        with pytest.raises(RolloutConflict):
            await other.set_rollout(Rollout(registry.namespace, "研究員", table), 0)
        with pytest.raises(RolloutRejected, match="is not published"):
            await other.set_rollout(
                Rollout(registry.namespace, "研究員", (RolloutVersion("9.0.0", "Current", 100),)),
                kept.revision,
            )
        cleared = await other.set_rollout(Rollout(registry.namespace, "研究員"), kept.revision)
        assert cleared.revision > kept.revision
        assert await anext(watched) == cleared
    finally:
        await watched.aclose()
        await other.aclose()


async def test_without_a_catalogue_a_search_says_how_to_start_one(registry: Registry) -> None:
    with pytest.raises(RegistryUnavailable, match="parley registry --nacos"):
        await registry.search(text="coder")
    with pytest.raises(RegistryUnavailable, match="parley registry --nacos"):
        await anext(registry.watch())


async def test_commands_go_to_nacos_itself_where_no_catalogue_answers(
    registry: Registry, nacos_url: str, tmp_path: Path
) -> None:
    await registry.publish(card())
    async with nearest(nacos_url) as found:
        assert (await found.get("coder")).version == "1.0.0"
        assert [one.version for one in await found.versions("coder")] == ["1.0.0"]
    async with AsyncExitStack() as running:
        service = running.enter_context(RegistryThread(tmp_path / "copy.db"))
        catalogue = await running.enter_async_context(Nacos(NacosAddress.parse(nacos_url)))
        await announce_catalogue(
            catalogue.naming, registry.namespace, "http://127.0.0.1:9"
        )  # nobody is there

        async def shown(url: str) -> bool:
            async with nearest(nacos_url) as found:
                return isinstance(found, RegistryClient) and found.url == url

        async with nearest(nacos_url) as found:
            assert (await found.get("coder")).version == "1.0.0"
        other = await running.enter_async_context(Nacos(NacosAddress.parse(nacos_url)))
        await announce_catalogue(other.naming, registry.namespace, service.url)
        await eventually(lambda: shown(service.url))


async def test_a_namespace_that_nobody_created_is_named_as_the_reason(
    nacos_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    base = nacos_url.rpartition("/")[0]
    async with nearest(f"{base}/never-created") as nowhere:
        for call in (nowhere.get("coder"), nowhere.search(text="coder"), anext(nowhere.watch())):
            with pytest.raises(
                Exception, match=r"no namespace with the id 'never-created' \(it has public, "
            ):
                await call
        await nowhere.publish(card())
        assert "no namespace with the id 'never-created'" in caplog.text
        await nowhere.delete("coder")


async def test_mcp_servers_are_read_from_nacos_itself(registry: Registry, nacos_url: str) -> None:
    address = NacosAddress.parse(nacos_url)
    async with Nacos(address) as nacos:
        servers = NacosMcp(nacos.http)
        for version in ("1.0.0", "1.1.0"):
            told = {
                "namespace": registry.namespace,
                "name": "weather",
                "version": version,
                "description": "Weather of a place",
                "protocol": "streamable-http",
                "endpoints": ["https://weather.example.com/mcp"],
                "tools": [{"name": "forecast", "description": "Tomorrow"}],
            }
            await servers.put(check_server(told, now=0.0), new=version == "1.0.0", latest=True)
    key = McpKey(registry.namespace, "weather")
    found = await registry.mcp.get(key)
    assert (found.version, found.endpoints) == ("1.1.0", ("https://weather.example.com/mcp",))
    assert [one.version for one in await registry.mcp.versions(key)] == ["1.1.0", "1.0.0"]
    for text, names in (("", ["weather"]), ("FORECAST tomorrow", ["weather"]), ("train", [])):
        assert [one.name for one in (await registry.mcp.list(registry.namespace, text)).servers] == names
    with pytest.raises(UnknownMcpServer):
        await registry.mcp.get(McpKey(registry.namespace, "trains"))
    with pytest.raises(RegistryUnavailable, match="parley registry --nacos"):
        await registry.mcp.delete(key)


async def test_what_is_signed_is_not_said_to_be_unsigned(registry: Registry, tmp_path: Path) -> None:
    signed = card()
    sign(signed, signingkeys.create(tmp_path / "keys.json"))
    assert (await registry.publish(signed)).signature.state == "untrusted"


async def test_the_catalogue_is_found_through_nacos(
    registry: Registry, nacos_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def search(self: RegistryClient, **criteria: object) -> str:
        asked.append(f"{self.url} {criteria}")
        return "page"

    monkeypatch.setattr(RegistryClient, "search", search)
    async with Nacos(NacosAddress.parse(nacos_url)) as catalogue:
        await announce_catalogue(catalogue.naming, registry.namespace, "http://127.0.0.1:8420")

        async def found() -> bool:
            try:
                return bool(await registry.search(text="x"))
            except RegistryUnavailable:
                return False

        await eventually(found)
        assert asked[-1] == f"http://127.0.0.1:8420 {{'text': 'x', 'namespace': '{registry.namespace}'}}"


async def test_search_and_watch_go_to_the_catalogue_and_to_the_next_one_when_it_goes(
    registry: Registry, nacos_url: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as running:
        services = [running.enter_context(RegistryThread(tmp_path / f"{n}.db")) for n in (1, 2)]
        clients = [connect(f"{one.url}?namespace={registry.namespace}") for one in services]
        for client in clients:
            running.push_async_callback(client.aclose)
        first = await running.enter_async_context(Nacos(NacosAddress.parse(nacos_url)))
        await announce_catalogue(first.naming, registry.namespace, services[0].url)

        async def found() -> bool:
            try:
                return (await registry.search(text="coder")).total == 1
            except RegistryUnavailable:
                return False

        await clients[0].publish(card())
        await eventually(found)
        async with aclosing(registry.watch(after=0)) as changes:
            told = await anext(changes)
            assert (told.kind, told.namespace, told.name) == ("published", registry.namespace, "coder")
            second = await running.enter_async_context(Nacos(NacosAddress.parse(nacos_url)))
            await announce_catalogue(second.naming, registry.namespace, services[1].url)
            await first.aclose()
            async with asyncio.timeout(10):
                while told.kind != "reset":
                    told = await anext(changes)
                following = asyncio.create_task(anext(changes))
                await eventually(lambda: _told(clients[1], following))
            assert following.result().name.startswith("later")


async def _told(client: Registry, following: "asyncio.Task[Change]") -> bool:
    await client.publish(card(f"later {time.monotonic_ns()}"))
    return following.done()


async def test_a_token_that_the_server_forgot_is_renewed(registry: Registry) -> None:
    assert isinstance(registry, NacosRegistry)
    await registry.publish(card())
    registry._nacos.http._token = "eyJhbGciOiJIUzM4NCJ9.forgotten.x"
    assert (await registry.get("coder")).version == "1.0.0"
    registry._nacos.http._token = "eyJhbGciOiJIUzM4NCJ9.forgotten.x"
    assert (await registry.rollout("coder")).revision == 0


async def test_publishing_again_does_not_take_the_instance_away_in_between(
    registry: Registry, nacos_url: str
) -> None:
    instance = Instance("coder-1", "http://127.0.0.1:9001/a2a/jsonrpc")
    await registry.publish(card(), instance=instance)
    async with Nacos(NacosAddress.parse(nacos_url)) as other:
        counts: list[int] = []
        service = service_of(registry.namespace, "coder", "1.0.0")
        other.naming.subscribe(service, lambda found: counts.append(len(found)))
        await until(lambda: counts[-1:] == [1])
        await registry.publish(card(), instance=instance)
        await registry.heartbeat("coder", "1.0.0", "coder-1")
        moved = Instance("coder-1", "http://127.0.0.1:9002/a2a/jsonrpc")
        await registry.publish(card(), instance=moved)

        async def moved_there() -> bool:
            return (await registry.get("coder")).instances == (moved,)

        await eventually(moved_there)
        await asyncio.sleep(1.0)  # what Nacos still has to push
        assert 0 not in counts[counts.index(1) :]


async def test_a_wrong_password_is_said_clearly_and_never_repeated(nacos_url: str) -> None:
    address = NacosAddress.parse(nacos_url)
    wrong = connect(nacos_url.replace(address.password, "geheim"))
    try:
        with pytest.raises(Exception, match="correct user and password") as refused:
            await wrong.get("coder")
        assert "geheim" not in str(refused.value)
        with pytest.raises(Exception, match="correct user and password"):
            await wrong.rollout("coder")
    finally:
        await wrong.aclose()


async def test_who_names_no_user_is_told_so(nacos_url: str) -> None:
    address = NacosAddress.parse(nacos_url)
    nobody = connect(f"nacos://{address.servers[0].http}/{address.namespace}")
    try:
        for call in (nobody.get("coder"), nobody.rollout("coder")):
            with pytest.raises(NotAllowed, match=r"who shows no user .* nacos://user:password@"):
                await call
    finally:
        await nobody.aclose()


async def test_nothing_secret_is_logged_at_any_level(
    nacos_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    found = connect(nacos_url)
    assert isinstance(found, NacosRegistry)
    await found.publish(card(), instance=Instance("coder-1", "http://127.0.0.1:9001"))
    token = await found._nacos.http.token()
    await found.aclose()
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert logged
    assert NacosAddress.parse(nacos_url).password not in logged
    assert token not in logged


@pytest.mark.parametrize("url", ["", "localhost:8420", "ftp://x", "http://u:geheim@h", "nacoss://u:geheim@h"])
def test_what_is_no_registry_is_refused_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a registry") as refused:
        connect(url)
    assert "geheim" not in str(refused.value)


async def test_a_service_is_told_its_namespace_by_the_address() -> None:
    found = connect("http://127.0.0.1:8420?namespace=team-a")
    assert isinstance(found, RegistryClient)
    assert (found.url, found.namespace) == ("http://127.0.0.1:8420", "team-a")
    await found.aclose()


async def test_a_signed_card_is_shown_as_the_live_instance_signed_it(registry: Registry) -> None:
    signed = ParseDict(full_card("signed", "1.0.0"), AgentCard())
    await registry.publish(signed, instance=Instance("s-1", signed.supported_interfaces[0].url))

    async def up() -> bool:
        return (await registry.get("signed")).health == "up"

    await eventually(up)
    assert (await registry.get("signed")).card == checked("signed", "1.0.0").card
