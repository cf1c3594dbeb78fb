"""What the registry's things are called in Nacos."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacos_cards import NAMES, VERSIONS

from parley_registry.entry import Instance
from parley_registry.nacos.layout import (
    agent_id,
    endpoint_of,
    instance_of,
    interfaces_of,
    nacos_name,
    nacos_version,
    service_of,
)
from parley_registry.nacos.naming import Endpoint


@pytest.mark.parametrize("name", ["coder", "a planner", "x" * 64, 'it\'s 100% <ok> & "fine"', "v1.2_beta"])
def test_a_name_that_nacos_can_hold_stays_as_it_is(name: str) -> None:
    assert nacos_name(name) == name


@pytest.mark.parametrize(
    "name", ["研究員", "x" * 65, "1" * 64, "____:x", "née", "coder~aaaaaaaaaaaaaaaa", "tab\there"]
)
def test_any_other_name_becomes_one_that_it_can(name: str) -> None:
    called = nacos_name(name)
    assert called != name
    assert called.isascii()
    assert called.isprintable()
    assert len(called) <= 64
    assert len(agent_id(called)) <= 190


@given(st.lists(NAMES, min_size=2, max_size=20, unique=True))
@settings(deadline=None, derandomize=True)
def test_two_names_are_never_called_the_same(names: list[str]) -> None:
    assert len({nacos_name(name) for name in names}) == len(names)
    assert len({agent_id(nacos_name(name)) for name in names}) == len(names)


@given(VERSIONS, VERSIONS)
@settings(deadline=None, derandomize=True)
def test_two_versions_are_never_called_the_same(one: str, other: str) -> None:
    assert "+" not in nacos_version(one)
    assert (nacos_version(one) == nacos_version(other)) == (one == other)


def test_ids_are_encoded_as_nacos_does() -> None:
    assert agent_id("coder") == "coder"
    assert agent_id("a-b.c:d") == "a-b.c:d"
    assert agent_id("a planner 2") == "____:a_032planner_032_050"
    assert service_of("ns", "a 1", "1.0.0+b").name == "____:a_032_049::1.0.0_b"


INTERFACES = orjson.dumps(
    [
        {"protocolBinding": binding, "protocolVersion": version, "url": f"https://coder.example.com/{path}"}
        for version in ("1.0", "0.3")
        for binding, path in (("JSONRPC", "a2a/jsonrpc"), ("HTTP+JSON", "a2a/rest"))
    ],
    option=orjson.OPT_SORT_KEYS,
)


def test_an_instance_comes_back_as_it_was_announced() -> None:
    instance = Instance("coder-1", "https://coder.example.com/a2a/rest")
    endpoint = endpoint_of(instance, INTERFACES)
    assert (endpoint.host, endpoint.port) == ("coder.example.com", 443)
    assert endpoint.metadata["__nacos.agent.endpoint.transport__"] == "HTTP+JSON"
    assert endpoint.metadata["__nacos.agent.endpoint.path__"] == "/a2a/rest"
    assert endpoint.metadata["__nacos.agent.endpoint.supportTls__"] == "true"
    assert instance_of(endpoint) == instance
    assert interfaces_of(endpoint.metadata) == INTERFACES


@pytest.mark.parametrize("host", ["h.example.com", "a" * 60 + ".example.com"])
@pytest.mark.parametrize("count", [1, 6, 12])
def test_what_an_instance_says_fits_into_what_nacos_takes(host: str, count: int) -> None:
    interfaces = orjson.dumps(
        [
            {
                "protocolBinding": "JSONRPC",
                "protocolVersion": "1.0",
                "url": f"http://{host}:8080/a2a/{number}",
            }
            for number in range(count)
        ]
    )
    endpoint = endpoint_of(Instance("i" * 64, f"http://{host}:8080/a2a/0"), interfaces)
    assert sum(len(k) + len(v) for k, v in endpoint.metadata.items()) <= 1000
    assert interfaces_of(endpoint.metadata) == interfaces


def test_more_than_fits_is_left_to_the_card() -> None:
    import random

    rng = random.Random(1)
    urls = [f"http://{rng.randbytes(60).hex()}:80" for _ in range(20)]
    interfaces = orjson.dumps([{"url": url} for url in urls])
    assert interfaces_of(endpoint_of(Instance("i", urls[0]), interfaces).metadata) == b"[]"


def test_a_grpc_address_and_an_ipv6_one_are_endpoints_too() -> None:
    assert (
        endpoint_of(Instance("i", "host:50051"), b"[]").host,
        endpoint_of(Instance("i", "host:50051"), b"[]").port,
    ) == (
        "host",
        50051,
    )
    endpoint = endpoint_of(Instance("i", "http://[::1]:9999/x"), b"[]")
    assert (endpoint.host, endpoint.port) == ("::1", 9999)


def test_instances_of_others_have_an_id_and_a_url() -> None:
    from parley_registry.nacos.naming import Endpoint

    assert instance_of(Endpoint("10.0.0.1", 8080, {})) == Instance("10.0.0.1:8080", "http://10.0.0.1:8080")
    spring = {"__nacos.agent.endpoint.path__": "a2a", "__nacos.agent.endpoint.supportTls__": "true"}
    assert instance_of(Endpoint("10.0.0.1", 8443, spring)).url == "https://10.0.0.1:8443/a2a"


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"parley.interfaces": "{"},
        {"parley.interfaces": "3"},
        {"parley.interfaces": "[3]"},
        {"parley.interfaces.z": "x"},
        {"parley.interfaces.z": "zzzzz"},
    ],
)
def test_damaged_interfaces_are_none(metadata: dict[str, str]) -> None:
    assert interfaces_of(metadata) == b"[]"


@given(st.text(max_size=50))
@settings(deadline=None, derandomize=True)
def test_no_text_in_an_instance_does_harm(text: str) -> None:
    interfaces_of({"parley.interfaces": text})
    interfaces_of({"parley.interfaces.z": text})


@pytest.mark.parametrize(
    "told",
    [
        '{"supportedInterfaces":[{"url":5}]}',
        '{"name":"other","supportedInterfaces":[{"url":"http://127.0.0.1:1"}]}',
        '[{"url":{"a":[]}}]',
        '[{"url":"javascript:alert(1)"}]',
        '["http://127.0.0.1:1"]',
        "[]",
        "5",
    ],
)
def test_what_others_say_of_an_instance_becomes_no_part_of_a_card(told: str) -> None:
    assert interfaces_of({"parley.interfaces": told}) == b"[]"


def test_an_id_and_a_url_that_others_register_count_if_they_keep_the_rules() -> None:
    bare = Instance("127.0.0.1:80", "http://127.0.0.1:80")
    for metadata in (
        {"parley.id": "a\0b", "parley.url": "javascript:alert(1)"},
        {"parley.id": "../x y", "parley.url": "http://127.0.0.1:1/\n"},
        {"parley.id": "ok\n", "__nacos.agent.endpoint.path__": "/ \n"},
    ):
        assert instance_of(Endpoint("127.0.0.1", 80, metadata)) == bare
