"""Configs in a real Nacos: read, published, only if unchanged, and told to listeners when they change."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nacos_kit import eventually, until

from parley_registry.nacos.address import NacosAddress
from parley_registry.nacos.config import Config, ConfigKey
from parley_registry.nacos.connection import Overtaken
from parley_registry.nacos.server import Nacos

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
async def server(nacos_url: str) -> AsyncIterator[Nacos]:
    async with Nacos(NacosAddress.parse(nacos_url)) as running:
        yield running


@pytest.fixture
def key(server: Nacos) -> ConfigKey:
    return ConfigKey(server.address.namespace, "parley-tests", "____:a_049")


async def test_a_config_is_read_as_it_was_published(server: Nacos, key: ConfigKey) -> None:
    assert await server.configs.get(key) is None
    await server.configs.publish(key, '{"計画": "🧭\\n"}')
    found = await eventually(lambda: server.configs.get(key))
    assert found.text == '{"計画": "🧭\\n"}'
    await server.configs.remove(key)
    await server.configs.remove(key)
    await eventually(lambda: _absent(server, key))


async def _absent(server: Nacos, key: ConfigKey) -> bool:
    return await server.configs.get(key) is None


async def test_a_listener_hears_what_there_is_and_each_change_within_a_second(
    server: Nacos, key: ConfigKey, nacos_url: str
) -> None:
    told: list[str | None] = []

    def hear(config: Config | None) -> None:
        told.append(config.text if config else None)

    listener = server.configs.listen(key, hear)
    await until(lambda: told == [None], 1.0)
    async with Nacos(NacosAddress.parse(nacos_url)) as other:
        for text in ("one", "two"):
            await other.configs.publish(key, text)
            assert await until(lambda text=text: told[-1] == text, 2.0) < 1.0  # type: ignore[misc]
        await other.configs.remove(key)
        await until(lambda: told[-1] is None, 2.0)
        assert told == [None, "one", "two", None]
        listener.close()
        await other.configs.publish(key, "three")
        await eventually(lambda: server.configs.get(key))
    assert told[-1] is None


async def test_a_second_listener_of_a_config_hears_what_there_is_too(server: Nacos, key: ConfigKey) -> None:
    first: list[Config | None] = []
    second: list[Config | None] = []
    await server.configs.publish(key, "here")
    server.configs.listen(key, first.append)
    await until(lambda: first and first[-1], 3.0)
    server.configs.listen(key, second.append)
    await until(lambda: second and second[-1], 3.0)
    known: list[Config | None] = []
    assert first[-1] is not None
    server.configs.listen(key, known.append, since=first[-1].md5)
    await server.configs.publish(key, "there")
    await until(lambda: known, 2.0)
    assert known[0] is not None
    assert known[0].text == "there"


async def test_of_two_who_change_what_they_read_one_is_told_that_it_was_overtaken(
    server: Nacos, key: ConfigKey
) -> None:
    await server.configs.publish(key, "0")
    read = await eventually(lambda: server.configs.get(key))
    done = await asyncio.gather(
        *(server.configs.publish(key, str(number), since=read.md5) for number in range(1, 5)),
        return_exceptions=True,
    )
    assert [type(one) for one in done if one is not None] == [Overtaken] * 3


async def test_configs_of_a_group_are_told_as_they_come_and_go(server: Nacos, key: ConfigKey) -> None:
    known: set[str] = set()
    await server.configs.publish(key, "here")
    watch = server.configs.watch(
        key.namespace, key.group, lambda name, there: known.add(name) if there else known.discard(name)
    )
    await until(lambda: known == {key.id}, 3.0)
    await server.configs.publish(key._replace(id="second"), "x")
    await until(lambda: known == {key.id, "second"}, 2.0)
    await server.configs.remove(key)
    await until(lambda: known == {"second"}, 2.0)
    assert watch.complete
    watch.close()
