"""An issuer of bearer tokens, and the settings of a registry that trusts it."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm


class Guarded:
    """What a registry needs to ask who calls (`settings`), and tokens for it."""

    def __init__(self, home: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        jwk = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        path = home / "jwks.json"
        path.write_text(json.dumps({"keys": [jwk | {"kid": "k", "alg": "ES256", "use": "sig"}]}))
        self.settings = {
            "auth_issuer": "https://issuer.example",
            "auth_audience": "registry",
            "auth_jwks": str(path),
        }

    def token(self, **claims: Any) -> str:
        told = {
            "iss": "https://issuer.example",
            "aud": "registry",
            "sub": "ann",
            "exp": time.time() + 600,
            **claims,
        }
        return jwt.encode(told, self._key, "ES256", headers={"kid": "k"})
