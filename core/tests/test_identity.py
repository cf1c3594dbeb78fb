"""A caller is who its token proves, for as long as the token and the issuer's keys say so."""

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from parley_core.errors import ConfigurationError, Unavailable
from parley_core.identity import Anonymous, Identity, JwksAuthenticator, Unauthenticated, authenticator_for
from parley_core.keyset import KeySet

ISSUER, AUDIENCE = "https://issuer.example", "parley"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, kid: str | None, **more: str) -> dict[str, Any]:
    """The JWK of a private key's public half."""
    kinds = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    name = next((alg for kind, alg in kinds.items() if isinstance(key, kind)), "EdDSA")
    jwk = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
    return {**jwk, **({"kid": kid} if kid else {}), **more}


def token(key: Any = EC_KEY, kid: str | None = "one", algorithm: str = "ES256", **claims: Any) -> str:
    """A signed token; claims set to None are left out."""
    now = int(time.time())
    full = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600, **claims}
    return jwt.encode(
        {name: value for name, value in full.items() if value is not None},
        key,
        algorithm=algorithm,
        headers={"kid": kid} if kid else None,
    )


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    return b".".join([*parts, b""]).decode()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    write_keys(path, public(EC_KEY, "one"), public(RSA_KEY, "rsa"), public(ED_KEY, "ed"))
    return path


def write_keys(path: Path, *jwks: dict[str, Any]) -> None:
    path.write_text(json.dumps({"keys": jwks}))


class Issuer:
    """A real HTTP server of keys that counts how often it is asked and can be told to fail."""

    def __init__(self, *jwks: dict[str, Any]) -> None:
        self.jwks = list(jwks)
        self.asked = 0
        self.status = 200
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Issuer"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = json.dumps({"keys": self.jwks}).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (self.status, len(body), body))
        await writer.drain()
        writer.close()


async def test_on_loopback_everyone_is_the_local_owner() -> None:
    assert await Anonymous().authenticate({}) == Identity("local")


@pytest.mark.parametrize(
    ("key", "kid", "algorithm"),
    [
        (EC_KEY, "one", "ES256"),
        (RSA_KEY, "rsa", "RS256"),
        (RSA_KEY, "rsa", "PS512"),
        (ED_KEY, "ed", "EdDSA"),
        (EC_KEY, None, "ES256"),
    ],
)
async def test_a_good_token_makes_its_subject_the_owner(
    keys: Path, key: Any, kid: str | None, algorithm: str
) -> None:
    authenticator = JwksAuthenticator(ISSUER, AUDIENCE, str(keys))
    found = await authenticator.authenticate(bearer(token(key, kid, algorithm, scope="read write")))
    assert found == Identity(f"{ISSUER}|alice", ISSUER, "alice", frozenset({"read", "write"}))


async def test_scopes_may_come_as_a_list(keys: Path) -> None:
    found = await JwksAuthenticator(ISSUER, AUDIENCE, str(keys)).authenticate(
        {"authorization": f"bearer  {token(scp=['a', 'b', 3])}"}
    )
    assert found.scopes == {"a", "b"}


@pytest.mark.parametrize(
    ("claim", "rights"),
    [
        (["a/*", 3, "admin:b/*"], ("a/*", "admin:b/*")),
        ("a/* admin:b/*", ("a/*", "admin:b/*")),
        ([], ()),
        ({"a": 1}, ()),
        (None, None),
    ],
)
async def test_rights_are_what_the_claim_says_and_none_is_not_the_same_as_no_claim(
    keys: Path, claim: Any, rights: tuple[str, ...] | None
) -> None:
    authenticator = JwksAuthenticator(ISSUER, AUDIENCE, str(keys), rights_claim="parley_rights")
    found = await authenticator.authenticate(bearer(token(parley_rights=claim)))
    assert found.rights == rights


async def test_a_set_of_keys_tells_when_it_changes_and_keeps_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    private = jwt.get_algorithm_by_name("ES256").to_jwk(EC_KEY, as_dict=True)
    write_keys(path, {**private, "kid": "one"})
    keys = KeySet(str(path), pause=0)
    assert keys.known("one", "ES256") is None
    for revision in (1, 1):
        await keys.refresh()
        assert keys.revision == revision
    found = keys.known("one", "ES256")
    assert found is not None
    assert isinstance(found.key, ec.EllipticCurvePublicKey)
    write_keys(path, public(OTHER_EC_KEY, "two"))
    await keys.refresh()
    assert keys.revision == 2
    assert keys.known("one", "ES256") is None


NOW = int(time.time())
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600}
PUBLIC_PEM = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
BAD = {
    "expired": token(exp=NOW - 60),
    "not valid yet": token(nbf=NOW + 600),
    "of another issuer": token(iss="https://evil.example"),
    "for another audience": token(aud="someone"),
    "without expiry": token(exp=None),
    "without subject": token(sub=None),
    "with an empty subject": token(sub=""),
    "without audience": token(aud=None),
    "with an odd expiry": token(exp="soon"),
    "signed by another key of that id": token(OTHER_EC_KEY),
    "signed by an unknown key": token(OTHER_EC_KEY, "two"),
    "signed with the wrong kind of key for its id": token(RSA_KEY, "one", "RS256"),
    "unsigned": unsigned({"alg": "none", "kid": "one"}, CLAIMS),
    "signed with the public key as a secret": unsigned({"alg": "HS256", "kid": "one"}, CLAIMS) + "c2ln",
    "with an odd kid": unsigned({"alg": "ES256", "kid": ["one"]}, CLAIMS),
    "with an odd alg": unsigned({"alg": ["ES256"], "kid": "one"}, CLAIMS),
    "cut short": token()[:-20],
    "of words": "hello",
    "of dots": "..",
    "far too long": "a" * 100_000,
    "not ASCII": "tökén.a.b",
}


async def test_a_token_may_be_for_any_of_several_audiences_and_for_no_other(keys: Path) -> None:
    verifier = JwksAuthenticator(ISSUER, "parley, parley-agents", str(keys))
    for audience in ("parley", "parley-agents", ["other", "parley"]):
        assert (await verifier.authenticate(bearer(token(aud=audience)))).owner == f"{ISSUER}|alice"
    for audience in ("parley-", "parley, parley-agents"):
        with pytest.raises(Unauthenticated, match="another audience"):
            await verifier.authenticate(bearer(token(aud=audience)))


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
async def test_a_bad_token_is_refused_with_a_challenge_and_without_being_told(
    keys: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unauthenticated) as refused:
        await JwksAuthenticator(ISSUER, AUDIENCE, str(keys)).authenticate(bearer(text))
    assert refused.value.challenge.startswith('Bearer error="invalid_token"')
    assert text[:30] not in f"{refused.value}{refused.value.challenge}{caplog.text}" or len(text) < 3


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer  ", "Basic abc", "abc"])
async def test_no_token_is_challenged_plainly(keys: Path, value: str | None) -> None:
    headers = {} if value is None else {"authorization": value}
    with pytest.raises(Unauthenticated) as refused:
        await JwksAuthenticator(ISSUER, AUDIENCE, str(keys)).authenticate(headers)
    assert refused.value.challenge == "Bearer"


def fails_if_called(*_: Any, **__: Any) -> None:
    raise AssertionError("verified again")


async def test_a_token_is_verified_once_and_then_remembered(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = JwksAuthenticator(ISSUER, AUDIENCE, str(keys))
    good = bearer(token())
    first = await authenticator.authenticate(good)
    monkeypatch.setattr(jwt, "decode", fails_if_called)
    assert await authenticator.authenticate(good) is first


async def until_refused(authenticator: JwksAuthenticator, headers: dict[str, str]) -> None:
    while True:
        await authenticator.authenticate(headers)
        await asyncio.sleep(0.02)


async def test_a_remembered_token_is_refused_once_it_has_expired(keys: Path) -> None:
    authenticator = JwksAuthenticator(ISSUER, AUDIENCE, str(keys), leeway=0)
    ends = int(time.time()) + 2
    with pytest.raises(Unauthenticated, match="expired"):
        await asyncio.wait_for(until_refused(authenticator, bearer(token(exp=ends))), 10)
    assert time.time() >= ends


async def test_only_the_last_tokens_are_remembered(keys: Path) -> None:
    authenticator = JwksAuthenticator(ISSUER, AUDIENCE, str(keys), remembered=3)
    for number in range(10):
        await authenticator.authenticate(bearer(token(jti=str(number))))
    assert len(authenticator._known) == 3


async def test_a_remembered_token_costs_little(keys: Path) -> None:
    authenticator = JwksAuthenticator(ISSUER, AUDIENCE, str(keys))
    good = bearer(token())
    await authenticator.authenticate(good)
    started = time.perf_counter()
    for _ in range(2000):
        await authenticator.authenticate(good)
    assert (time.perf_counter() - started) / 2000 < 0.0002


async def test_shared_secrets_cannot_be_configured(keys: Path) -> None:
    for name in ("HS256", "none"):
        with pytest.raises(ConfigurationError, match="not accepted"):
            JwksAuthenticator(ISSUER, AUDIENCE, str(keys), algorithms=[name])


async def test_keys_for_encryption_and_shared_secrets_in_the_set_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    secret = {"kty": "oct", "kid": "one", "k": "c2VjcmV0"}
    write_keys(path, public(EC_KEY, "one", use="enc"), secret, {"kty": "EC", "kid": "broken"})
    authenticator = JwksAuthenticator(ISSUER, AUDIENCE, str(path))
    for text in (token(), token(kid="broken")):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(bearer(text))


async def test_a_rotated_key_is_found_on_its_first_token() -> None:
    async with Issuer(public(EC_KEY, "one")).serve() as issuer:
        authenticator = JwksAuthenticator(ISSUER, AUDIENCE, "", keys=KeySet(issuer.url, pause=0))
        await authenticator.authenticate(bearer(token()))
        issuer.jwks = [public(OTHER_EC_KEY, "two")]
        found = await authenticator.authenticate(bearer(token(OTHER_EC_KEY, "two")))
        assert found.subject == "alice"
        assert issuer.asked == 2


async def test_unknown_keys_do_not_make_us_ask_the_issuer_again_and_again() -> None:
    async with Issuer(public(EC_KEY, "one")).serve() as issuer:
        authenticator = JwksAuthenticator(ISSUER, AUDIENCE, "", keys=KeySet(issuer.url, pause=60))
        await authenticator.authenticate(bearer(token()))
        for number in range(20):
            with pytest.raises(Unauthenticated):
                await authenticator.authenticate(bearer(token(OTHER_EC_KEY, f"made up {number}")))
        assert issuer.asked == 1


async def test_callers_at_once_share_one_fetch() -> None:
    async with Issuer(public(EC_KEY, "one")).serve() as issuer:
        authenticator = JwksAuthenticator(ISSUER, AUDIENCE, issuer.url)
        headers = [bearer(token(jti=str(n))) for n in range(20)]
        await asyncio.gather(*(authenticator.authenticate(h) for h in headers))
        assert issuer.asked == 1


async def new_tokens_until_refused(authenticator: JwksAuthenticator) -> None:
    while True:
        await authenticator.authenticate(bearer(token(jti=str(time.monotonic()))))


async def test_known_keys_go_on_while_the_issuer_is_down_and_end_after_the_stated_time() -> None:
    async with Issuer(public(EC_KEY, "one")).serve() as issuer:
        keys = KeySet(issuer.url, fresh=0.0, pause=0.0, stale=0.6)
        authenticator = JwksAuthenticator(ISSUER, AUDIENCE, "", keys=keys)
        await authenticator.authenticate(bearer(token(jti="before")))
        since = time.monotonic()
        issuer.status = 503
        await authenticator.authenticate(bearer(token(jti="during")))
        with pytest.raises(Unavailable, match="try again"):
            await asyncio.wait_for(new_tokens_until_refused(authenticator), 10)
        assert time.monotonic() - since > 0.5
        issuer.status = 200
        await authenticator.authenticate(bearer(token(jti="after")))
        await authenticator.aclose()


async def test_an_issuer_that_was_never_reached_is_unavailable_not_a_bad_token(tmp_path: Path) -> None:
    authenticator = JwksAuthenticator(ISSUER, AUDIENCE, str(tmp_path / "missing.json"))
    with pytest.raises(Unavailable):
        await authenticator.authenticate(bearer(token()))


def test_the_settings_choose_the_authenticator(keys: Path) -> None:
    assert isinstance(authenticator_for("", "", ""), Anonymous)
    assert isinstance(authenticator_for(ISSUER, AUDIENCE, str(keys)), JwksAuthenticator)
    with pytest.raises(ConfigurationError, match="PARLEY_AUTH_AUDIENCE, PARLEY_AUTH_JWKS"):
        authenticator_for(ISSUER, "", "")
