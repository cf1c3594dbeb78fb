"""Who calls: an owner from the headers of a request.

Everything that a call makes belongs to its owner, and what is another's does not exist for it. On loopback
everyone is the one local owner; elsewhere a bearer token is verified against the issuer's keys.
Tokens are in no message, log or cache (the cache knows their digests).
"""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import jwt

from parley_core.errors import ConfigurationError, ParleyError
from parley_core.keyset import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that are accepted: all asymmetric, so that a public key can never be taken for a shared secret."""

_MAX_TOKEN = 16 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller. `owner` is what its tasks are kept under: issuer and subject together.

    `rights` is what the claim for rights says (see `registry`'s rights), None when the token has none.
    """

    owner: str
    issuer: str = ""
    subject: str = ""
    scopes: frozenset[str] = frozenset()
    rights: tuple[str, ...] | None = None


class Unauthenticated(ParleyError):
    """The call does not prove who makes it. `challenge` is the WWW-Authenticate value to answer with (401)."""

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(message)
        self.challenge = challenge


class Authenticator(Protocol):
    """Tells who sent a request."""

    async def authenticate(self, headers: Mapping[str, str]) -> Identity:
        """The caller that these headers (lower-case names) prove.

        Raises Unauthenticated, or Unavailable when that cannot be told now (503).
        """

    async def aclose(self) -> None:
        """Let go of connections and background work."""


class Anonymous:
    """Everyone is the one local owner: for loopback, where reaching the port is proof enough."""

    _local = Identity("local")

    async def authenticate(self, headers: Mapping[str, str]) -> Identity:
        return self._local

    async def aclose(self) -> None:
        return None


class JwksAuthenticator:
    """Verifies bearer tokens (JWT) of one issuer; the owner is `issuer|subject`. `audience` is who they must be for: one of several, with commas.

    `jwks` is the URL or file of the issuer's keys (see `KeySet` for how they are kept fresh). `leeway` is how
    many seconds clocks may differ. A token found good is remembered until it expires, at most `remember` seconds
    and for the last `remembered` tokens; so a withdrawn key takes effect after `remember` seconds at the latest.
    `rights_claim` is the claim that becomes `Identity.rights`.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        jwks: str,
        *,
        leeway: float = 30.0,
        algorithms: Sequence[str] = ALGORITHMS,
        remember: float = 300.0,
        remembered: int = 4096,
        keys: KeySet | None = None,
        rights_claim: str = "",
    ) -> None:
        refused = [name for name in algorithms if name not in ALGORITHMS]
        if refused:
            raise ConfigurationError(
                f"tokens signed by {', '.join(refused)} are not accepted; choose from {', '.join(ALGORITHMS)}"
            )
        self._issuer = issuer
        self._audiences = [one.strip() for one in audience.split(",") if one.strip()]
        self._leeway = leeway
        self._algorithms = tuple(algorithms)
        self._remember = remember
        self._remembered = remembered
        self._keys = keys or KeySet(jwks)
        self._rights_claim = rights_claim
        self._known: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()

    async def authenticate(self, headers: Mapping[str, str]) -> Identity:
        """See `Authenticator.authenticate`."""
        token = _bearer(headers.get("authorization"))
        digest = sha256(token).digest()
        known = self._known.get(digest)
        now = time.time()
        if known is not None:
            if now < known[0]:
                self._known.move_to_end(digest)
                return known[1]
            del self._known[digest]
        claims = await self._verify(token)
        identity = _identity(claims, self._rights_claim)
        self._known[digest] = (min(float(claims["exp"]), now + self._remember), identity)
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)
        return identity

    async def aclose(self) -> None:
        """End a running refresh of the keys."""
        await self._keys.aclose()

    async def _verify(self, token: bytes) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise _invalid("the token is not a JSON Web Token") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:
            raise _invalid("the token's signature algorithm is not accepted")
        key = await self._keys.find(kid if isinstance(kid, str) else None, algorithm)
        if key is None:
            raise _invalid("the token is signed by a key that its issuer does not publish")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audiences,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "sub", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise _invalid("the token has expired; get a new one") from None
        except jwt.InvalidAudienceError:
            raise _invalid("the token is for another audience; ask for one for this service") from None
        except jwt.InvalidIssuerError:
            raise _invalid("the token is of another issuer than this service trusts") from None
        except jwt.MissingRequiredClaimError as error:
            raise _invalid(f"the token has no {error.claim!r} claim") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise _invalid("the token does not verify") from None
        if not claims["sub"]:
            raise _invalid("the token has no 'sub' claim")
        return claims


def authenticator_for(issuer: str, audience: str, jwks: str, rights_claim: str = "") -> Authenticator:
    """The authenticator that the three settings ask for: `Anonymous` when all are empty.

    Raises ConfigurationError when only some of them are set.
    """
    given = {"auth_issuer": issuer, "auth_audience": audience, "auth_jwks": jwks}
    missing = [name for name, value in given.items() if not value]
    if len(missing) == len(given):
        return Anonymous()
    if missing:
        names = ", ".join(f"PARLEY_{name.upper()}" for name in missing)
        raise ConfigurationError(
            f"verifying tokens needs issuer, audience and keys together; set {names} too"
        )
    return JwksAuthenticator(issuer, audience, jwks, rights_claim=rights_claim)


def _bearer(value: str | None) -> bytes:
    if not value:
        raise Unauthenticated("this service needs a bearer token; send Authorization: Bearer …", "Bearer")
    scheme, _, token = value.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "the Authorization header is not of the form `Bearer TOKEN`; send it so", "Bearer"
        )
    if len(token) > _MAX_TOKEN or not token.isascii():
        raise _invalid("the token is not a JSON Web Token")
    return token.encode("ascii")


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(why, f'Bearer error="invalid_token", error_description="{why}"')


def _identity(claims: Mapping[str, Any], rights_claim: str) -> Identity:
    scopes = _words(claims.get("scope") or claims.get("scp") or ())
    rights = _words(claims[rights_claim]) if rights_claim in claims else None
    issuer, subject = claims["iss"], claims["sub"]
    return Identity(f"{issuer}|{subject}", issuer, subject, frozenset(scopes), rights)


def _words(value: object) -> tuple[str, ...]:
    """The words of a claim that is a list of them, or a text with spaces between."""
    if isinstance(value, str):
        value = value.split()
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
