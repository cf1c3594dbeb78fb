"""Addresses of Nacos: what is taken, what is refused, and that no password is ever shown."""

import pytest

from parley_core.errors import ConfigurationError
from parley_registry.nacos.address import NacosAddress, Server


def test_an_address_says_who_where_and_which_namespaces() -> None:
    address = NacosAddress.parse(
        "nacos://me:p%40ss%3A%2F@n1:8848,n2:8849,[::1]/team-a,public?tls=true&context=/x/"
    )
    assert address.servers == (Server("n1", 8848), Server("n2", 8849), Server("[::1]", 8848))
    assert (address.user, address.password) == ("me", "p@ss:/")
    assert address.namespaces == ("team-a", "public")
    assert address.namespace == "team-a"
    assert address.tls
    assert address.context == "/x"
    assert (address.servers[1].http, address.servers[1].grpc) == ("n2:8849", "n2:9849")


def test_the_shortest_address_is_a_host() -> None:
    address = NacosAddress.parse("nacos://nacos")
    assert address.servers == (Server("nacos", 8848),)
    assert address.namespaces == ("public",)
    assert (address.user, address.context, address.tls) == ("", "/nacos", False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nacos",
        "http://host",
        "nacos://",
        "nacos://user@host",
        "nacos://user:@host",
        "nacos://:geheim@host",
        "nacos://u:geheim@host:0",
        "nacos://u:geheim@host:99999",
        "nacos://u:geheim@host:65000",
        "nacos://u:geheim@host:x",
        "nacos://u:geheim@ho st",
        "nacos://u:geheim@host,",
        "nacos://u:geheim@host/a b",
        "nacos://u:geheim@host/a,",
        "nacos://u:geheim@host/a/b",
        "nacos://u:geheim@host/ns?tls=maybe",
        "nacos://u:geheim@host/ns?geheim=1",
        "nacos://u:geheim@host/ns?context=no",
        "nacos://u:geheim@host/ns#x",
        "nacos://u:geheim@[::1/ns",
    ],
)
def test_what_is_no_address_is_refused_in_words_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        NacosAddress.parse(url)
    said = str(refused.value)
    assert "nacos" in said.lower() or "tls" in said or "context" in said
    assert "geheim" not in said.replace("'geheim'", "")


def test_an_address_shows_no_password() -> None:
    address = NacosAddress.parse("nacos://u:geheim@host/ns")
    assert "geheim" not in repr(address) + str(address) + f"{address}"
    assert str(address) == "nacos://host:8848/ns"
