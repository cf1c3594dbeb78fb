"""Key sets of others: whatever is in them, looking for a key neither fails nor takes long."""

import base64
import os
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from parley_core.keyset import KeySet


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


LONG = b64(b"\xff" * 256)
HOSTILE: list[Any] = [
    1,
    None,
    {"kty": []},
    {"kty": "RSA", "kid": "a"},
    {"kty": "RSA", "kid": "a", "n": 5, "e": []},
    {"kty": "RSA", "kid": "a", "n": "%%%", "e": "AQAB"},
    {"kty": "RSA", "kid": "a", "n": "AA", "e": "AQAB"},
    {"kty": "RSA", "kid": "a", "n": LONG, "e": LONG},
    {"kty": "RSA", "kid": "a", "n": b64(b"\xff" * 100_000), "e": "AQAB"},
    {"kty": "EC", "kid": "a", "crv": "P-256", "x": b64(b"\1" * 32), "y": b64(b"\1" * 32)},
    {"kty": "EC", "kid": "a", "crv": [], "x": None, "y": 1},
    {"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": {}},
    {"kty": "OKP", "kid": {"a": 1}, "crv": "Ed25519", "x": b64(b"\1" * 32)},
    {"kty": "OKP", "kid": "a", "alg": ["EdDSA"], "crv": "Ed25519", "x": b64(b"\1" * 32)},
]


async def keys(folder: Path, *told: Any) -> KeySet:
    file = folder / "keys.json"
    file.write_bytes(orjson.dumps({"keys": told}))
    found = KeySet(str(file))
    await found.refresh()
    return found


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
@pytest.mark.parametrize("key", HOSTILE, ids=str)
async def test_a_key_that_is_none_is_no_key(tmp_path: Path, key: Any, algorithm: str) -> None:
    found = await keys(tmp_path, key)
    began = time.process_time()
    found.known("a", algorithm)
    assert time.process_time() - began < 0.5


async def test_a_set_of_thousands_of_keys_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    many = [
        {"kty": "EC", "kid": "a", "crv": "P-256", "x": b64(os.urandom(32)), "y": b64(os.urandom(32))}
        for _ in range(3000)
    ]
    found = await keys(tmp_path, *many)
    assert found.keys == ()
    assert "it has 3000 keys" in caplog.text
