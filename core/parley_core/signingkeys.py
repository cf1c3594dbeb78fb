"""The keys that sign cards: a JSON Web Key Set (RFC 7517) in one file that its owner alone may read.

One key of the set is private and signs; the others are the public halves of those that signed before, published
for as long as cards signed by them are about. Nothing here shows or logs a private key.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import jwt
import orjson
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm
from jwt.utils import base64url_encode

from parley_core.errors import ConfigurationError

Algorithm = Literal["ES256", "EdDSA"]

PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members of a JWK that are secret (RFC 7518, section 6)."""
_THUMBPRINT = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
_MAX_FILE = 256 * 1024


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key: `created` is in seconds since the epoch, 0 if the file does not say."""

    id: str
    algorithm: str
    created: float
    signs: bool


class SigningKeys:
    """The set as read from a file."""

    def __init__(self, keys: tuple[Mapping[str, Any], ...]) -> None:
        self._keys = keys
        [signing] = [key for key in keys if "d" in key]
        self.id: str = signing["kid"]
        self.algorithm: str = signing["alg"]
        self._key = jwt.PyJWK(dict(signing), self.algorithm)

    def __repr__(self) -> str:
        return f"SigningKeys({self.id!r})"

    def sign(self, payload: bytes, jku: str = "") -> tuple[str, str]:
        """The protected header and the signature of `payload` as RFC 7515 has them, both base64url.

        `jku` is the URL at which `public` is served.
        """
        headers = {"typ": "JOSE", "kid": self.id} | ({"jku": jku} if jku else {})
        token = jwt.PyJWS().encode(payload, self._key, self.algorithm, headers)
        protected, _, signature = token.split(".")
        return protected, signature

    def public(self) -> dict[str, Any]:
        """The set as it is published: public keys, the one that signs first."""
        ordered = sorted(self._keys, key=lambda key: "d" not in key)
        return {"keys": [{k: v for k, v in key.items() if k not in PRIVATE} for key in ordered]}

    def shown(self) -> tuple[KeyInfo, ...]:
        """The keys, the one that signs first."""
        found = (KeyInfo(k["kid"], k["alg"], float(k.get("iat", 0)), "d" in k) for k in self._keys)
        return tuple(sorted(found, key=lambda key: (not key.signs, -key.created)))


def read(path: Path) -> SigningKeys:
    """The keys in a file. Raises ConfigurationError that says what is wrong with it."""
    return SigningKeys(_read(path))


def create(path: Path, algorithm: Algorithm = "ES256") -> SigningKeys:
    """Make a file with one new key. Raises ConfigurationError when there is one already."""
    with _held(path):
        if path.exists():
            raise ConfigurationError(
                f"{path} has keys already; change to a new one with `parley keys rotate`"
            )
        return _write(path, (_new(algorithm),))


def ensure(path: Path) -> SigningKeys:
    """The keys in a file, which is made if it is not there. Raises ConfigurationError."""
    with _held(path):
        return SigningKeys(_read(path)) if path.exists() else _write(path, (_new("ES256"),))


def rotate(path: Path, algorithm: Algorithm | None = None) -> SigningKeys:
    """Put a new key in the place of the one that signs, whose public half stays published.

    The private half of the old one is gone with this. Raises ConfigurationError.
    """
    with _held(path):
        known = _read(path)
        kind = algorithm or str(next(key["alg"] for key in known if "d" in key))
        kept = tuple({k: v for k, v in key.items() if k not in PRIVATE} for key in known)
        return _write(path, (_new(kind), *kept))


def retire(path: Path, key_id: str) -> SigningKeys:
    """Publish a key no longer: what it signed is trusted no more. Raises ConfigurationError, also for the key that
    signs now."""
    with _held(path):
        known = _read(path)
        kept = tuple(key for key in known if key["kid"] != key_id)
        if len(kept) == len(known):
            there = ", ".join(key["kid"] for key in known)
            raise ConfigurationError(f"there is no key {key_id!r} in {path}; it has {there}")
        if not any("d" in key for key in kept):
            raise ConfigurationError(f"{key_id} is the key that signs; `parley keys rotate` first")
        return _write(path, kept)


def thumbprint(key: Mapping[str, Any]) -> str:
    """A key's id by RFC 7638, which follows from the key itself."""
    said = rfc8785.dumps({name: key[name] for name in _THUMBPRINT[key["kty"]]})
    return base64url_encode(sha256(said).digest()).decode("ascii")


def _new(algorithm: str) -> dict[str, Any]:
    if algorithm == "ES256":
        jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    elif algorithm == "EdDSA":
        jwk = OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate(), as_dict=True)
    else:
        raise ConfigurationError(f"{algorithm!r} is no algorithm for new keys; choose ES256 or EdDSA")
    kept = {name: value for name, value in jwk.items() if name != "key_ops"}
    kid = thumbprint(kept)
    if kid.startswith("-"):  # it would look like an option to `parley keys retire`
        return _new(algorithm)
    return {**kept, "use": "sig", "alg": algorithm, "kid": kid, "iat": int(time.time())}


def _read(path: Path) -> tuple[dict[str, Any], ...]:
    try:
        with path.open("rb") as file:
            body = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the signing keys {path} ({error.strerror}); make them with `parley keys create`"
        ) from error
    try:
        keys = orjson.loads(body)["keys"]
        signing = [_checked(key) for key in keys]
    except (orjson.JSONDecodeError, jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError):
        signing = []
    if sum(signing) != 1:
        raise ConfigurationError(
            f"{path} is not a set of signing keys: it must be a JSON Web Key Set in which every key has kid and alg "
            "and exactly one is private; make one with `parley keys create`"
        )
    return tuple(keys)


def _checked(key: Mapping[str, Any]) -> bool:
    """Whether a key is private; raises one of many errors when it is none that can be used."""
    jwt.PyJWK(dict(key), key["alg"])
    if not isinstance(key["kid"], str) or not key["kid"] or key["alg"].startswith("HS"):
        raise ValueError
    return "d" in key


def _write(path: Path, keys: tuple[Mapping[str, Any], ...]) -> SigningKeys:
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)  # of a process that died here; the folder is ours now
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(orjson.dumps({"keys": list(keys)}, option=orjson.OPT_INDENT_2) + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return SigningKeys(keys)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """One change at a time: the folder is locked, for the file itself is replaced."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"cannot use {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
