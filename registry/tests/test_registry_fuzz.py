"""Whatever is sent, the answer is one that the OpenAPI document promises, and never a 500."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from registry_service import RegistryThread, card_json
from schemathesis.specs.openapi.checks import positive_data_acceptance

from parley_registry.service import create_app
from parley_registry.settings import RegistrySettings

NEVER_ENDS = "/v1/watch"
CALLS_OUT = "/v1/external"

document = create_app(RegistrySettings(store="sqlite:///unused.db")).openapi()
OPERATIONS = [
    found.ok()
    for found in schemathesis.openapi.from_dict(document)
    .exclude(path=[NEVER_ENDS, CALLS_OUT])
    .get_all_operations()
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryThread]:
    with RegistryThread(tmp_path_factory.mktemp("fuzz") / "r.db") as registry:
        httpx.post(
            f"{registry.url}/v1/agents", json={"card": card_json()}, trust_env=False
        ).raise_for_status()
        yield registry


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_answer_is_a_promised_one(running: RegistryThread, operation: Any) -> None:
    @given(
        case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    )
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answered(case: Any) -> None:
        # What the schema allows may still break a card's rules: that is answered with 422 and meant so.
        case.call_and_validate(base_url=running.url, excluded_checks=[positive_data_acceptance])

    answered()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged_cards(draw: st.DrawFn) -> Any:
    """A good card in which some values, anywhere, are others."""
    card: Any = card_json(f"agent {draw(st.integers(0, 10**9))}")
    for _ in range(draw(st.integers(1, 3))):
        at = card
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], dict | list) and at[key] and draw(st.booleans()):
                at = at[key]
                continue
            at[key] = draw(JSON)
            break
    return card


def test_a_damaged_card_is_taken_or_its_faults_are_named(running: RegistryThread) -> None:
    with httpx.Client(base_url=running.url, trust_env=False) as http:

        @given(card=damaged_cards())
        @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def judged(card: Any) -> None:
            answer = http.post("/v1/agents", json={"card": card})
            assert answer.status_code in (200, 201, 409, 422), answer.text
            if answer.status_code == 422:
                assert answer.json()["faults"]
            elif answer.status_code == 201:
                assert http.get("/v1/agents", params={"text": "agent"}).status_code == 200

        judged()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"card": null}',
        b'{"card": {}, "more": 1}',
        b'{"card": {"name": "\\ud800"}}',
        b'{"card": {"name": NaN}}',
        b'{"card": {"name": 1e999}}',
        b'{"card": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        b'{"card": {"capabilities": {"extensions": [{"uri": "u", "params": '
        + b'{"a":' * 200
        + b"1"
        + b"}" * 200
        + b"}]}}}",
        b'{"card": {"skills": [' + b"1," * 50_000 + b"1]}}",
        b"\xff\xfe",
        b'{"card": {"name": "a\\u0000b"}}',
        b"x" * 2_000_000,
    ],
)
def test_a_body_that_is_no_card_is_a_problem_of_the_caller(running: RegistryThread, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{running.url}/v1/agents", content=body, headers=headers, trust_env=False)
    assert answer.status_code in (400, 413, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "url",
    [1, None, "", "http://", "http://\ud7ff", "http://[", "http://x:y/", "x" * 3000, "http://a.invalid/"],
)
def test_a_url_that_is_none_is_a_problem_of_the_caller(running: RegistryThread, url: Any) -> None:
    answer = httpx.post(f"{running.url}{CALLS_OUT}", json={"url": url}, trust_env=False, timeout=20)
    assert answer.status_code in (400, 422), answer.text


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 30, "٣", "1 2"])
def test_a_watch_is_resumed_after_an_id_or_not_at_all(running: RegistryThread, given: str) -> None:
    told = {"last-event-id": given.encode()}
    assert httpx.get(f"{running.url}{NEVER_ENDS}", headers=told, trust_env=False).status_code == 400
    assert (
        httpx.get(f"{running.url}{NEVER_ENDS}", params={"after": given}, trust_env=False).status_code == 400
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/agents/%00",
        "/v1/agents/%ff",
        "/v1/agents/a%2Fb",
        "/v1/agents/" + "x" * 500,
        "/v1/nothing",
        "/%2e%2e/x",
    ],
)
def test_a_path_to_nothing_is_a_problem_of_the_caller(running: RegistryThread, path: str) -> None:
    answer = httpx.get(running.url + path, trust_env=False)
    assert answer.status_code in (400, 404)
    assert json.loads(answer.content)["status"] == answer.status_code
