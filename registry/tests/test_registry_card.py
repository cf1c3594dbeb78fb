"""What the registry takes as a card: everything wrong is named at once, with its place."""

from typing import Any

import pytest
from registry_service import card_json

from parley_registry.card import MAX_CARD, check_card
from parley_registry.errors import CardRejected


def faults_of(card: Any) -> dict[str, str]:
    with pytest.raises(CardRejected) as caught:
        check_card(card)
    return {fault.field: fault.message for fault in caught.value.faults}


def test_a_good_card_is_kept_as_canonical_json() -> None:
    checked = check_card(card_json() | {"unknownMember": 1})
    assert checked.card.name == "coder"
    assert b"unknownMember" not in checked.json


def test_an_empty_card_lacks_every_required_field_of_the_protocol() -> None:
    assert set(faults_of({})) == {
        "name",
        "description",
        "supportedInterfaces",
        "version",
        "capabilities",
        "defaultInputModes",
        "defaultOutputModes",
        "skills",
    }


def test_faults_of_type_of_presence_and_of_rule_come_in_one_answer() -> None:
    found = faults_of(
        card_json(
            version="v1",
            description=7,
            iconUrl="javascript:alert(1)",
            skills=[{"id": "a b", "name": "n", "description": "d", "tags": "x"}, {"id": 3}],
            securitySchemes={"key": {"apiKeySecurityScheme": {"name": "k"}}},
        )
    )
    assert set(found) == {
        "version",
        "description",
        "iconUrl",
        "skills[0].id",
        "skills[0].tags",
        "skills[1].id",
        "skills[1].name",
        "skills[1].description",
        "skills[1].tags",
        "securitySchemes['key'].apiKeySecurityScheme.location",
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": ".."}, "name"),
        ({"version": "1.0"}, "version"),
        ({"version": "1.0.0-01"}, "version"),
        ({"defaultInputModes": ["text"]}, "defaultInputModes[0]"),
        ({"documentationUrl": "/docs"}, "documentationUrl"),
        ({"provider": {"organization": "o", "url": "https://user:pw@example.com"}}, "provider.url"),
        ({"capabilities": {"extensions": [{}]}}, "capabilities.extensions[0].uri"),
    ],
)
def test_each_rule_names_its_field(changes: dict[str, Any], field: str) -> None:
    assert list(faults_of(card_json(**changes))) == [field]


@pytest.mark.parametrize(
    ("interface", "field"),
    [
        ({"url": "ftp://x/"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://x:99999/"}, "url"),
        ({"protocolVersion": "1"}, "protocolVersion"),
        ({"protocolBinding": "SOAP"}, "protocolBinding"),
    ],
)
def test_an_interface_is_absolute_and_speaks_a_known_way(interface: dict[str, str], field: str) -> None:
    good = {"url": "https://x/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    card = card_json(supportedInterfaces=[good, good | interface])
    assert list(faults_of(card)) == [f"supportedInterfaces[1].{field}"]


def test_grpc_is_reached_at_host_and_port() -> None:
    grpc = {"url": "agent.example.com:443", "protocolBinding": "GRPC", "protocolVersion": "1.0"}
    assert check_card(card_json(supportedInterfaces=[grpc])).card.supported_interfaces[0].url


def test_a_skill_id_is_unique_in_a_card() -> None:
    skill = card_json()["skills"][0]
    assert list(faults_of(card_json(skills=[skill, skill]))) == ["skills[1].id"]


def test_a_card_of_a2a_0_3_is_told_what_became_of_its_url() -> None:
    card = card_json(url="http://127.0.0.1/", preferredTransport="JSONRPC")
    del card["supportedInterfaces"]
    assert "supportedInterfaces[0].url" in faults_of(card)["url"]


def test_only_one_kind_of_a_choice_can_be_given() -> None:
    both = {"mtlsSecurityScheme": {}, "httpAuthSecurityScheme": {"scheme": "Bearer"}}
    assert list(faults_of(card_json(securitySchemes={"s": both}))) == ["securitySchemes['s']"]


def test_a_card_is_limited_in_size() -> None:
    assert list(faults_of(card_json(description="x" * MAX_CARD))) == [""]


def test_where_a_version_answers_is_no_part_of_what_it_is() -> None:
    elsewhere = [{"url": "https://other/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}]
    here, there = check_card(card_json()), check_card(card_json(supportedInterfaces=elsewhere))
    assert here.digest == there.digest
    assert here.digest != check_card(card_json(description="something else")).digest
