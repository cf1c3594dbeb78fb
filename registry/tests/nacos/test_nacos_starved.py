"""A Nacos that is short of processor time: the connection, and all that it carries, is not given up for one late answer."""

import pytest
from fake_nacos import fake_nacos
from nacos_kit import until

from parley_registry.nacos import connection as connecting
from parley_registry.nacos.server import Nacos

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_CHECK_EVERY", 0.2)
    monkeypatch.setattr(connecting, "_PATIENCE", 60.0)


async def test_one_health_check_that_is_not_answered_in_time_does_not_end_the_connection() -> None:
    async with fake_nacos(lambda number: number == 2) as server, Nacos(server.address) as nacos:
        await until(lambda: nacos.connection.live)
        connections = server.connections
        await until(lambda: server.checks >= 5)
        await until(lambda: not nacos.connection.doubted)
        assert nacos.connection.live
        assert server.connections == connections


async def test_a_connection_is_doubted_while_nothing_is_answered_and_trusted_again_when_it_is() -> None:
    async with fake_nacos(lambda number: number > 1) as server, Nacos(server.address) as nacos:
        await until(lambda: nacos.connection.doubted)
        connections = server.connections
        assert nacos.connection.live
        server.loud.set()
        await until(lambda: not nacos.connection.doubted)
        assert nacos.connection.live
        assert server.connections == connections


async def test_a_server_that_answers_no_health_check_at_all_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_PATIENCE", 0.5)
    async with fake_nacos(lambda number: number > 1) as server, Nacos(server.address) as nacos:
        await until(lambda: server.checks > 1)
        connections = server.connections
        await until(lambda: server.connections > connections)
        server.loud.set()
        await until(lambda: nacos.connection.live)
