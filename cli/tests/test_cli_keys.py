"""Cards are signed from the command line: made known, verified by anybody, and signed anew while all goes on."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError
from a2a.types import AgentCard
from a2a.types import a2a_pb2 as pb
from a2a.utils.signing import InvalidSignaturesError, create_signature_verifier
from cli_processes import EXAMPLES, called, hosted, registry
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

pytestmark = pytest.mark.processes

HELLO = EXAMPLES / "hello"


def keys_of(path: Path) -> list[dict[str, Any]]:
    """The keys in a file, as `parley keys list` tells them."""
    done = called(path.parent, "keys", "list", "--keys", str(path), "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def verifier() -> Callable[[AgentCard], None]:
    """The SDK's own, which gets the keys from where the card says."""

    def key(kid: str | None, jku: str | None) -> jwt.PyJWK:
        assert jku is not None
        [found] = [one for one in httpx.get(jku).json()["keys"] if one["kid"] == kid]
        return jwt.PyJWK(found)

    return create_signature_verifier(key, ["ES256", "EdDSA"])


async def resolved(url: str) -> AgentCard:
    """The card that an unmodified client accepts."""
    async with httpx.AsyncClient() as http:
        return await A2ACardResolver(http, url).get_agent_card(signature_verifier=verifier())


def shown(home: Path, catalogue: str, name: str = "hello") -> dict[str, Any]:
    done = called(home, "agents", "show", name, "--json", "--registry", catalogue)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    assert called(tmp_path, "keys", "create", "--keys", str(path)).returncode == 0
    return path


def test_a_signed_card_is_verified_by_the_registry_and_by_any_client_and_rotation_stops_nothing(
    tmp_path: Path, keys: Path
) -> None:
    first = keys_of(keys)[0]["id"]
    with (
        registry(tmp_path, PARLEY_REGISTRY_TRUSTED_KEYS=f"acme={keys}") as catalogue,
        hosted("hello:Hello", HELLO, tmp_path, "--signing-keys", str(keys), "--registry", catalogue) as url,
    ):
        assert shown(tmp_path, catalogue)["signature"] == {
            "state": "verified",
            "key_id": first,
            "signer": "acme",
        }
        told = called(tmp_path, "agents", "show", "hello", "--registry", catalogue).stdout
        assert f"signature verified: by acme, key {first}" in told
        card = asyncio.run(resolved(url))
        assert card.name == "hello"

        rotated = called(tmp_path, "keys", "rotate", "--keys", str(keys), "--algorithm", "EdDSA")
        second = rotated.stdout.split()[0]
        until(lambda: shown(tmp_path, catalogue)["signature"]["key_id"] == second)
        assert shown(tmp_path, catalogue)["signature"]["state"] == "verified"
        assert asyncio.run(resolved(url)).signatures[0] != card.signatures[0]
        served = httpx.get(f"{url}/.well-known/jwks.json")
        assert [one["kid"] for one in served.json()["keys"]] == [second, first]
        assert all("d" not in one for one in served.json()["keys"])
        verifier()(card)  # the old one holds until its key is retired

        assert called(tmp_path, "keys", "retire", first, "--keys", str(keys)).returncode == 0
        until(lambda: len(httpx.get(f"{url}/.well-known/jwks.json").json()["keys"]) == 1)
        assert shown(tmp_path, catalogue)["signature"]["state"] == "verified"
        card.description = "Something else"
        with pytest.raises((InvalidSignaturesError, ValueError)):
            verifier()(card)


def test_a_registry_that_wants_signatures_takes_no_others(tmp_path: Path, keys: Path) -> None:
    public = tmp_path / "public.json"
    public.write_text(called(tmp_path, "keys", "public", "--keys", str(keys)).stdout)
    settings = {
        "PARLEY_REGISTRY_TRUSTED_KEYS": str(public),
        "PARLEY_REGISTRY_REQUIRE_SIGNATURE": "true",
    }
    with registry(tmp_path, **settings) as catalogue:
        card = {
            **json.loads((HELLO / "card.json").read_text()),
            "supportedInterfaces": [
                {"url": "http://127.0.0.1:9/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
            ],
        }
        answer = httpx.post(f"{catalogue}/v1/agents", json={"card": card})
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:parley:registry:signature-required"
        assert "--signing-keys" in answer.json()["detail"]
        refused = called(tmp_path, "agents", "history", "hello", "--registry", catalogue)
        assert "refused" in refused.stdout
        given = ("--signing-keys", str(keys), "--registry", catalogue)
        with hosted("hello:Hello", HELLO, tmp_path, *given):
            assert shown(tmp_path, catalogue)["signature"]["signer"] == "public"


def test_the_extended_card_is_signed_and_for_who_proves_who_they_are(tmp_path: Path, keys: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    issuer = tmp_path / "issuer.json"
    public = {**ECAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "k", "alg": "ES256"}
    issuer.write_text(json.dumps({"keys": [public]}))
    claims = {"iss": "https://issuer.example", "aud": "agents", "sub": "ann", "exp": time.time() + 600}
    token = jwt.encode(claims, private, "ES256", headers={"kid": "k"})
    extended = json.loads((HELLO / "card.json").read_text()) | {
        "securitySchemes": {
            "bearer": {"httpAuthSecurityScheme": {"scheme": "Bearer", "bearerFormat": "JWT"}},
            "key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}},
        },
        "securityRequirements": [{"schemes": {"bearer": {}}}],
    }
    (tmp_path / "card.json").write_text(json.dumps(extended))
    extended["skills"].append({"id": "secret", "name": "s", "description": "s", "tags": ["t"]})
    (tmp_path / "extended.json").write_text(json.dumps(extended))
    options = {
        "--auth-issuer": "https://issuer.example",
        "--auth-audience": "agents",
        "--auth-jwks": str(issuer),
        "--signing-keys": str(keys),
        "--card": str(tmp_path / "card.json"),
        "--extended-card": str(tmp_path / "extended.json"),
    }

    async def fetch(url: str, headers: dict[str, str], binding: str) -> AgentCard:
        config = ClientConfig(
            httpx_client=httpx.AsyncClient(headers=headers), supported_protocol_bindings=[binding]
        )
        client = ClientFactory(config).create(await resolved(url))
        try:
            return await client.get_extended_agent_card(
                pb.GetExtendedAgentCardRequest(), signature_verifier=verifier()
            )
        finally:
            await client.close()

    words = [word for pair in options.items() for word in pair]
    with hosted("hello:Hello", HELLO, tmp_path, *words) as url:
        public_card = asyncio.run(resolved(url))
        assert public_card.capabilities.extended_agent_card
        for binding in ("JSONRPC", "HTTP+JSON"):
            with pytest.raises(A2AClientError, match="401"):
                asyncio.run(fetch(url, {}, binding))
            card = asyncio.run(fetch(url, {"Authorization": f"Bearer {token}"}, binding))
            assert "secret" in [skill.id for skill in card.skills]
            assert card.supported_interfaces == public_card.supported_interfaces
        assert "secret" not in [skill.id for skill in public_card.skills]


def test_what_cannot_be_is_said_with_what_to_do(tmp_path: Path, keys: Path) -> None:
    there = ("--keys", str(keys))
    for words, said in (
        (("keys", "create", *there), "parley keys rotate"),
        (("keys", "create", "--algorithm", "HS256", "--keys", str(tmp_path / "x")), "choose ES256 or EdDSA"),
        (("keys", "retire", keys_of(keys)[0]["id"], *there), "parley keys rotate"),
        (("keys", "list"), "parley keys create"),
        (
            (
                "host",
                "parley_agents.planner:Planner",
                "--card",
                str(HELLO / "card.json"),
                "--signing-keys",
                "no.json",
            ),
            "parley keys create",
        ),
    ):
        done = called(tmp_path, *words)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert said in done.stderr
    assert json.loads(keys.read_text())["keys"][0]["d"] not in done.stderr + done.stdout
