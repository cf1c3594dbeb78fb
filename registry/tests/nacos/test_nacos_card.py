"""A card of A2A 1.0 as Nacos holds it, and back: nothing is lost, and who knows only 0.3 can read it."""

import copy
import json
import re
from typing import Any

import pytest
from a2a.compat.v0_3.types import AgentCard as Card03
from hypothesis import HealthCheck, given, settings
from nacos_cards import CARDS, checked, full_card, large_card

from parley_registry.card import check_card
from parley_registry.errors import CardRejected
from parley_registry.nacos.card import EXACT, from_nacos, to_nacos

_KEPT_BY_3_1: dict[str, Any] = {
    "": (
        *("protocolVersion", "name", "description", "version", "iconUrl", "capabilities", "skills", "url"),
        *("preferredTransport", "additionalInterfaces", "provider", "documentationUrl", "securitySchemes"),
        *("security", "defaultInputModes", "defaultOutputModes", "supportsAuthenticatedExtendedCard"),
    ),
    "capabilities": ("streaming", "pushNotifications", "stateTransitionHistory", "extensions"),
    "skills": ("id", "name", "description", "tags", "examples", "inputModes", "outputModes"),
    "provider": ("organization", "url"),
    "additionalInterfaces": ("url", "transport"),
}


def kept_by_3_1(card: dict[str, Any], path: str = "") -> dict[str, Any]:
    """What a server of 3.1 answers for what it was sent: unknown members gone, known ones null where not given."""
    kept: dict[str, Any] = {}
    for key in _KEPT_BY_3_1[path]:
        value = card.get(key)
        if key in _KEPT_BY_3_1 and isinstance(value, dict):
            value = kept_by_3_1(value, key)
        elif key in _KEPT_BY_3_1 and isinstance(value, list):
            value = [kept_by_3_1(one, key) for one in value]
        kept[key] = value
    if path == "":
        kept |= {"registrationType": "SERVICE", "latestVersion": True}
    return json.loads(json.dumps(kept))  # type: ignore[no-any-return]


def rewritten_by_3_2(card: dict[str, Any]) -> dict[str, Any]:
    """What a server from 3.2.1 answers (by its source): it fills 0.3 from 1.0, and transport and tenant into interfaces."""
    told: dict[str, Any] = copy.deepcopy(card)
    for one in told.get("supportedInterfaces") or ():
        one.setdefault("transport", one["protocolBinding"])
        one.setdefault("tenant", None)
    told["additionalInterfaces"] = (told.get("supportedInterfaces") or [])[1:]
    return told | {"registrationType": "URL", "latestVersion": None}


@given(card=CARDS)
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_card_comes_back_to_the_byte_from_either_nacos(card: dict[str, Any]) -> None:
    try:
        sent = check_card(card)
    except CardRejected:
        return
    for told in (kept_by_3_1(to_nacos(sent)), rewritten_by_3_2(to_nacos(sent))):
        held = from_nacos(told)
        assert held.exact
        assert held.checked.json == sent.json


def test_a_reader_of_0_3_finds_where_and_what_the_agent_is() -> None:
    read = Card03.model_validate(kept_by_3_1(to_nacos(checked("a planner", "1.2.3+build.7"))))
    assert (read.name, read.version, read.url) == (
        "a planner",
        "1.2.3_build.7",
        "https://a.example.com/a2a/jsonrpc",
    )
    assert read.preferred_transport == "JSONRPC"
    assert read.additional_interfaces is not None
    assert [one.transport for one in read.additional_interfaces] == ["HTTP+JSON", "GRPC", "JSONRPC"]
    assert read.security == [{"oauth": ["read"], "mtls": []}, {"key": []}]
    assert read.security_schemes is not None
    assert {name: one.root.type for name, one in read.security_schemes.items()} == {
        "key": "apiKey",
        "bearer": "http",
        "oidc": "openIdConnect",
        "oauth": "oauth2",
        "mtls": "mutualTLS",
    }
    assert read.supports_authenticated_extended_card is True
    assert read.skills[0].name == "計画"


def test_what_nacos_itself_rewrites_of_a_running_agent_does_not_touch_the_exact_card() -> None:
    told = kept_by_3_1(to_nacos(checked()))
    told |= {"url": "http://10.0.0.7:8080/a2a", "additionalInterfaces": [{"url": "http://10.0.0.7:8080/a2a"}]}
    assert from_nacos(told).checked.json == checked().json


def test_what_a_person_changed_in_nacos_counts_more_than_the_exact_card() -> None:
    told = kept_by_3_1(to_nacos(checked()))
    told["description"] = "changed by hand"
    held = from_nacos(told)
    assert not held.exact
    assert held.checked.card.description == "changed by hand"
    assert held.checked.card.supported_interfaces[0].url == "https://a.example.com/a2a/jsonrpc"
    assert EXACT not in [one.uri for one in held.checked.card.capabilities.extensions]


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"card": 7},
        {"card": "{"},
        {"card": "[]"},
        {"card": '{"name": 3}'},
        {"cardDeflated": "!!"},
        {"cardDeflated": "eJwDAAAAAAE="},
    ],
)
def test_a_damaged_exact_card_is_passed_over(params: Any) -> None:
    told = kept_by_3_1(to_nacos(checked()))
    told["capabilities"]["extensions"][-1]["params"] = params
    held = from_nacos(told)
    assert not held.exact
    assert held.checked.card.name == "full agent"


def test_a_card_of_another_name_in_the_extension_is_not_believed() -> None:
    told = kept_by_3_1(to_nacos(checked("the thief")))
    told["name"] = "the victim"
    assert from_nacos(told).checked.card.name == "the victim"


def test_cards_of_others_are_read_as_far_as_they_can_be() -> None:
    spring = {
        "protocolVersion": "0.3.0",
        "name": "weather",
        "description": None,
        "version": "v1",
        "iconUrl": None,
        "capabilities": {
            "streaming": True,
            "pushNotifications": None,
            "stateTransitionHistory": False,
            "extensions": None,
        },
        "skills": [],
        "url": "http://10.0.0.1:8080",
        "preferredTransport": "JSONRPC",
        "additionalInterfaces": [
            {"url": "http://10.0.0.1:8080", "transport": "JSONRPC"},
            {"url": "http://10.0.0.1:8080/rest", "transport": "HTTP+JSON"},
        ],
        "securitySchemes": {"k": {"type": "apiKey", "in": "header", "name": "X"}},
        "security": [{"k": []}],
        "defaultInputModes": [],
        "registrationType": "SERVICE",
        "latestVersion": True,
    }
    card = from_nacos(spring).checked.card
    assert (card.name, card.version) == ("weather", "v1")
    assert [(one.protocol_binding, one.protocol_version) for one in card.supported_interfaces] == [
        ("JSONRPC", "0.3"),
        ("HTTP+JSON", "0.3"),
    ]
    assert card.security_schemes["k"].api_key_security_scheme.location == "header"
    assert "k" in card.security_requirements[0].schemes


def test_a_1_0_card_kept_by_a_newer_nacos_is_read_natively() -> None:
    native = {
        "name": "new",
        "version": "1.0.0",
        "description": "d",
        "url": "https://n/x",
        "preferredTransport": "JSONRPC",
        "protocolVersion": "1.0",
        "additionalInterfaces": [],
        "supportedInterfaces": [
            {
                "url": "https://n/x",
                "protocolBinding": "JSONRPC",
                "protocolVersion": "1.0",
                "transport": "JSONRPC",
            }
        ],
        "capabilities": {"extendedAgentCard": True},
        "securityRequirements": [{"oauth": ["read"]}],
        "skills": [{"id": "s", "name": "s", "description": "s", "tags": ["t"]}],
        "registrationType": "URL",
    }
    card = from_nacos(native).checked.card
    assert card.capabilities.extended_agent_card
    assert list(card.security_requirements[0].schemes["oauth"].list) == ["read"]
    assert card.supported_interfaces[0].protocol_version == "1.0"


@pytest.mark.parametrize(
    "told", [{}, {"name": "x"}, {"version": "1"}, {"name": 3, "version": "1", "url": ""}]
)
def test_what_is_no_card_is_said_to_be_none(told: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an AgentCard"):
        from_nacos(told)


def test_a_card_that_is_nested_too_deeply_is_none() -> None:
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"a": deep}
    extensions = {"extensions": [{"uri": "urn:x", "params": deep}]}
    with pytest.raises(ValueError, match="not an AgentCard"):
        from_nacos({"name": "x", "version": "1", "url": "", "capabilities": extensions})


@pytest.mark.parametrize("odd", [{"name": "a\0b"}, {"version": "1\0"}])
def test_a_card_with_a_name_or_version_that_no_database_keeps_is_none(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not an AgentCard"):
        from_nacos({"name": "x", "version": "1", "url": "", **odd})


def test_a_card_whose_security_nobody_can_read_still_says_where_it_answers() -> None:
    told = {
        "name": "odd",
        "version": "1",
        "url": "http://o",
        "preferredTransport": "JSONRPC",
        "security": [["x"]],
    }
    assert from_nacos(told).checked.card.supported_interfaces[0].url == "http://o"


def test_the_largest_cards_fit_into_what_nacos_takes() -> None:
    from urllib.parse import quote

    sent = check_card(large_card("large", 250_000))
    form = quote(json.dumps(to_nacos(sent), ensure_ascii=False))
    assert len(form) < 2 * 1024 * 1024
    assert from_nacos(kept_by_3_1(to_nacos(sent))).checked.json == sent.json


def test_nothing_in_what_is_sent_is_null() -> None:
    assert not re.search(
        r": null", json.dumps({k: v for k, v in to_nacos(checked()).items() if k != "capabilities"})
    )
    assert full_card()["name"] == to_nacos(checked())["name"]
