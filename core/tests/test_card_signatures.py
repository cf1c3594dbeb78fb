"""Cards are signed as the specification says, and what others sign is judged by the keys one trusts."""

import base64
import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from a2a.types import AgentCard, AgentCardSignature
from a2a.utils import signing as sdk
from cryptography.hazmat.primitives.asymmetric import rsa
from google.protobuf.json_format import MessageToDict, ParseDict
from jwt.algorithms import RSAAlgorithm

from parley_core import signingkeys
from parley_core.canonical import NotCanonical, canonical, without_empty
from parley_core.cardsignature import Find, Signature, TrustedKey, check, sign
from parley_core.errors import ConfigurationError
from parley_core.signingkeys import SigningKeys

JKU = "https://agents.example.com/.well-known/jwks.json"


def a_card(**more: Any) -> AgentCard:
    """A card as agents have them."""
    told = {
        "name": "Köder ☕",
        "description": 'says "hé\u2028llo"',
        "version": "1.0.0",
        "supportedInterfaces": [
            {"url": "https://a.example.com/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ],
        "capabilities": {"streaming": True, "pushNotifications": False},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "s", "name": "s", "description": "s", "tags": ["t"]}],
    }
    return ParseDict(told | more, AgentCard())


def trusting(*sets: SigningKeys | dict[str, Any], signer: str = "us") -> Find:
    """What finds the keys of these sets."""
    keys = [key for one in sets for key in (one.public() if isinstance(one, SigningKeys) else one)["keys"]]

    def find(kid: str, algorithm: str) -> list[TrustedKey]:
        return [
            TrustedKey(jwt.PyJWK(key, algorithm), signer)
            for key in keys
            if key["kid"] == kid and key["alg"] == algorithm
        ]

    return find


def sdk_verifier(keys: SigningKeys) -> Callable[[AgentCard], None]:
    """The SDK's verifier, given these keys."""
    known = {key["kid"]: key for key in keys.public()["keys"]}
    return sdk.create_signature_verifier(lambda kid, _: jwt.PyJWK(known[str(kid)]), ["ES256", "EdDSA"])


def _protected(header: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


@pytest.fixture
def keys(tmp_path: Path) -> SigningKeys:
    return signingkeys.create(tmp_path / "keys.json")


# -- the canonical form


def test_the_specifications_example_has_the_canonical_form_that_it_prints() -> None:
    """The example of section 8.4.1 is a fragment; the required members it leaves out are there too."""
    fragment = {
        "name": "Example Agent",
        "description": "",
        "capabilities": {"streaming": False, "pushNotifications": False, "extensions": []},
        "skills": [],
    }
    form = json.loads(canonical(ParseDict(fragment, AgentCard())))
    missing = {"defaultInputModes": [], "defaultOutputModes": [], "supportedInterfaces": [], "version": ""}
    assert form == missing | {
        "capabilities": {"pushNotifications": False, "streaming": False},
        "description": "",
        "name": "Example Agent",
        "skills": [],
    }
    assert canonical(ParseDict(fragment, AgentCard())).startswith(
        b'{"capabilities":{"pushNotifications":false,"streaming":false},"defaultInputModes":[]'
    )


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"securityRequirements": [{"schemes": {"bearer": {}}}]},
        {"capabilities": {}},
        {"capabilities": {"extensions": [{"uri": "u:x", "params": {"a": [1.5, 1e300, -0.0, "", None, {}]}}]}},
        {"documentationUrl": "", "iconUrl": "https://a.example.com/i.png"},
    ],
)
def test_the_other_form_is_to_the_byte_what_the_sdk_signs(more: dict[str, Any]) -> None:
    card = a_card(**more)
    assert without_empty(card) == sdk._canonicalize_agent_card(card).encode()


def test_what_is_required_or_was_said_is_covered_although_it_is_empty() -> None:
    bearer = {"securityRequirements": [{"schemes": {"bearer": {}}}]}
    assert b'"securityRequirements":[{"schemes":{"bearer":{}}}]' in canonical(a_card(**bearer))
    assert b"securityRequirements" not in without_empty(a_card(**bearer))
    flow = {"clientCredentials": {"tokenUrl": "https://a.example.com/t", "scopes": {}}}
    scheme = {"securitySchemes": {"o": {"oauth2SecurityScheme": {"flows": flow}}}}
    assert b'"scopes":{}' in canonical(a_card(**scheme))
    assert b'"documentationUrl":""' in canonical(a_card(documentationUrl=""))


def test_numbers_are_written_as_rfc_8785_has_them_whatever_their_size() -> None:
    params = {"a": 1e300, "b": 1.0, "c": -0.0, "d": 0.1, "e": 2**60, "f": 1e-7}
    card = a_card(capabilities={"extensions": [{"uri": "u:x", "params": params}]})
    assert b'{"a":1e+300,"b":1,"c":0,"d":0.1,"e":1152921504606847000,"f":1e-7}' in canonical(card)


def test_a_number_that_json_cannot_carry_has_no_canonical_form(keys: SigningKeys) -> None:
    card = a_card()
    card.capabilities.extensions.add(uri="u:x").params.update({"a": float("inf")})
    with pytest.raises(NotCanonical):
        canonical(card)
    card.signatures.append(AgentCardSignature(protected=_protected({"alg": "ES256", "kid": keys.id})))
    assert check(card, trusting(keys)).state == "invalid"


# -- signing and verifying


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_signed_card_is_verified_by_us_and_by_the_unmodified_sdk(tmp_path: Path, algorithm: Any) -> None:
    keys = signingkeys.create(tmp_path / "keys.json", algorithm)
    card = a_card()
    sign(card, keys, JKU)
    assert check(card, trusting(keys)) == Signature("verified", keys.id, "us")
    sdk_verifier(keys)(card)
    [one] = card.signatures
    header = json.loads(base64.urlsafe_b64decode(one.protected + "=="))
    assert header == {"alg": algorithm, "kid": keys.id, "typ": "JOSE", "jku": JKU}
    assert "=" not in one.protected + one.signature


def test_a_card_that_asks_for_a_token_is_verified_by_the_sdk_too(keys: SigningKeys) -> None:
    card = a_card(securityRequirements=[{"schemes": {"bearer": {}}}])
    sign(card, keys)
    assert len(card.signatures) == 2
    sdk_verifier(keys)(card)
    assert check(card, trusting(keys)).state == "verified"


def test_what_the_sdk_signed_is_verified(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    jwk = {
        **RSAAlgorithm.to_jwk(private.public_key(), as_dict=True),
        "kid": "acme-1",
        "alg": "RS256",
    }
    header: Any = {"alg": "RS256", "kid": "acme-1", "typ": "JOSE", "jku": None}
    signer = sdk.create_agent_card_signer(
        jwt.PyJWK(RSAAlgorithm.to_jwk(private, as_dict=True), "RS256"), header
    )
    card = signer(a_card(securityRequirements=[{"schemes": {"bearer": {}}}]))
    found = check(card, trusting({"keys": [jwk]}, signer="acme"))
    assert found == Signature("verified", "acme-1", "acme")


def test_a_changed_card_is_invalid_and_a_signature_goes_with_the_journey_of_its_card(
    keys: SigningKeys,
) -> None:
    card = a_card()
    sign(card, keys)
    again = ParseDict(json.loads(json.dumps(MessageToDict(card))), AgentCard())
    assert check(again, trusting(keys)).state == "verified"
    again.supported_interfaces[0].url = "https://evil.example.com/rpc"
    assert check(again, trusting(keys)) == Signature("invalid", keys.id, "us")


def test_a_card_by_another_key_is_untrusted_and_one_without_signatures_is_just_that(
    keys: SigningKeys, tmp_path: Path
) -> None:
    others = signingkeys.create(tmp_path / "others.json")
    card = a_card()
    assert check(card, trusting(keys)) == Signature("none")
    sign(card, others)
    assert check(card, trusting(keys)) == Signature("untrusted", others.id)
    assert check(card, trusting(keys, others)).state == "verified"


def test_one_good_signature_among_others_is_enough(keys: SigningKeys, tmp_path: Path) -> None:
    card = a_card()
    sign(card, signingkeys.create(tmp_path / "others.json"))
    [theirs] = card.signatures
    sign(card, keys)
    card.signatures.insert(0, theirs)
    card.signatures.insert(0, AgentCardSignature(protected="%%%", signature="x"))
    assert check(card, trusting(keys)).state == "verified"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES256", "crit": ["b64"], "b64": False},
        {"alg": "ES256", "crit": ["exp"], "exp": 1},
        {"alg": ["ES256"]},
        {"alg": "EdDSA"},
    ],
)
def test_a_header_that_asks_for_something_else_is_never_verified(
    keys: SigningKeys, header: dict[str, Any]
) -> None:
    card = a_card()
    sign(card, keys)
    card.signatures[0].protected = _protected(header | {"kid": keys.id})
    assert check(card, trusting(keys)).state in ("untrusted", "invalid")


@pytest.mark.parametrize("protected", ["", "é", "e30", "bnVsbA", "W10", "A" * 100_000, "!!", "e30="])
def test_a_header_that_is_none_is_not_followed_anywhere(keys: SigningKeys, protected: str) -> None:
    card = a_card()
    card.signatures.append(AgentCardSignature(protected=protected, signature="\x00é"))
    assert check(card, trusting(keys)) == Signature("untrusted", "")


# -- the file


def test_the_file_is_its_owners_alone_and_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    keys = signingkeys.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = json.loads(path.read_text())["keys"][0]["d"]
    assert secret not in repr(keys) + str(keys.public()) + str(keys.shown())
    assert not {"d", "key_ops"} & set(keys.public()["keys"][0])
    with pytest.raises(ConfigurationError, match="parley keys rotate"):
        signingkeys.create(path)


def test_a_rotated_key_signs_no_more_but_what_it_signed_holds_until_it_is_retired(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = signingkeys.create(path)
    card = a_card()
    sign(card, first)
    second = signingkeys.rotate(path)
    assert second.id != first.id
    assert [key["kid"] for key in second.public()["keys"]] == [second.id, first.id]
    assert path.read_text().count('"d"') == 1
    assert check(card, trusting(signingkeys.read(path))).state == "verified"
    third = signingkeys.retire(path, first.id)
    assert check(card, trusting(third)).state == "untrusted"
    with pytest.raises(ConfigurationError, match="rotate"):
        signingkeys.retire(path, third.id)
    with pytest.raises(ConfigurationError, match="no key 'nothing'"):
        signingkeys.retire(path, "nothing")


def test_rotations_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    signingkeys.create(path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(signingkeys.rotate, [path] * 8))
    assert len(signingkeys.read(path).shown()) == 9


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"keys": []}',
        '{"keys": [1]}',
        '{"keys": [{"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "x"}]}',
    ],
)
def test_a_file_that_is_no_set_of_keys_is_refused_with_what_to_do(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="parley keys create"):
        signingkeys.read(path)
    with pytest.raises(ConfigurationError, match="parley keys create"):
        signingkeys.read(tmp_path / "nothing.json")
