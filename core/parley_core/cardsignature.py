"""Signatures of AgentCards (A2A 1.0, section 8.4): JWS (RFC 7515) with the card itself as its detached payload."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import jwt
import orjson
from a2a.types import AgentCard, AgentCardSignature
from jwt.utils import base64url_decode, base64url_encode

from parley_core.canonical import NotCanonical, canonical, without_empty
from parley_core.identity import ALGORITHMS
from parley_core.signingkeys import SigningKeys

State = Literal["verified", "untrusted", "invalid", "none"]

MAX_SIGNATURES = 16
"""Signatures of one card that are looked at."""
_MAX_HEADER = 4096


@dataclass(frozen=True, slots=True)
class Signature:
    """What the signatures of a card are worth.

    - verified: one of them is by a trusted key, and covers the card as it is;
    - invalid: one claims a trusted key, but the card is not what that key signed;
    - untrusted: there are some, none by a key that is trusted;
    - none: there are none.

    `key_id` is the key's id (of the first signature if none is trusted), `signer` whom the trusted key stands for.
    """

    state: State
    key_id: str = ""
    signer: str = ""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key, and whom it stands for."""

    key: jwt.PyJWK
    signer: str


Canonical = Callable[[AgentCard], bytes]
Find = Callable[[str, str], Sequence[TrustedKey]]
"""The trusted keys with this id, to verify a signature of this algorithm with."""


def sign(card: AgentCard, keys: SigningKeys, jku: str = "") -> None:
    """Sign a card in the place of all signatures it has; `jku` is where the public keys are served.

    Where the form that the a2a-sdk verifies differs from the specification's, a second signature covers it, so
    that both find one that fits (section 8.4.3 asks for one valid signature). Raises NotCanonical.
    """
    payloads = dict.fromkeys((canonical(card), without_empty(card)))
    del card.signatures[:]
    for payload in payloads:
        protected, signature = keys.sign(payload, jku)
        card.signatures.append(AgentCardSignature(protected=protected, signature=signature))


def check(card: AgentCard, find: Find) -> Signature:
    """What the card's signatures are worth to one who trusts the keys that `find` finds.

    A signature may cover the specification's canonical form or the a2a-sdk's. A `jku` is never followed.
    """
    if not card.signatures:
        return Signature("none")
    said = [_header(one) for one in card.signatures[:MAX_SIGNATURES]]
    found = Signature("untrusted", next((kid for kid, _ in said if kid), ""))
    payloads: dict[Canonical, bytes | None] = {}
    for one, (kid, algorithm) in zip(card.signatures, said, strict=False):
        for key in find(kid, algorithm) if kid and algorithm in ALGORITHMS else ():
            for form in (canonical, without_empty):
                if form not in payloads:
                    payloads[form] = _payload(form, card)
                payload = payloads[form]
                if payload is not None and _fits(one, payload, key.key, algorithm):
                    return Signature("verified", kid, key.signer)
            if found.state == "untrusted":
                found = Signature("invalid", kid, key.signer)
    return found


def key_ids(card: AgentCard) -> list[tuple[str, str]]:
    """The key id and algorithm that each signature claims; "" for what it does not say."""
    return [_header(one) for one in card.signatures[:MAX_SIGNATURES]]


def _header(signature: AgentCardSignature) -> tuple[str, str]:
    if len(signature.protected) > _MAX_HEADER:
        return "", ""
    try:
        header = orjson.loads(base64url_decode(signature.protected))
    except ValueError:
        return "", ""
    if not isinstance(header, dict) or "crit" in header or header.get("b64", True) is not True:
        return "", ""
    kid, algorithm = header.get("kid"), header.get("alg")
    return (kid if isinstance(kid, str) else ""), (algorithm if isinstance(algorithm, str) else "")


def _payload(form: Canonical, card: AgentCard) -> bytes | None:
    try:
        return form(card)
    except NotCanonical:
        return None


def _fits(signature: AgentCardSignature, payload: bytes, key: jwt.PyJWK, algorithm: str) -> bool:
    body = base64url_encode(payload).decode("ascii")
    token = f"{signature.protected}.{body}.{signature.signature}"
    jws = jwt.PyJWS(options={"enforce_minimum_key_length": True})
    try:
        jws.decode(token, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError):
        return False
    return True
