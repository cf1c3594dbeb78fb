"""What a cluster's parts know each other by: a certificate, a key that signs service accounts' tokens, a token for each part."""

import base64
import csv
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from engines.certificate import make_certificate
from engines.files import write_private

NODE = "node"
# Who it is to the API server, and the groups it is in.
_USERS = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", "system:masters"),
    "scheduler": ("system:kube-scheduler", ""),
    "node": (f"system:node:{NODE}", "system:nodes"),
    "proxy": ("system:kube-proxy", ""),
}


class Keys:
    """In a folder that only this user can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "server.crt"
        self.certificate_key = folder / "server.key"
        self.accounts_key = folder / "accounts.key"
        self.tokens = folder / "tokens.csv"

    def kubeconfig(self, user: str) -> Path:
        """Of admin, controllers, scheduler, node or proxy."""
        return self.folder / f"{user}.kubeconfig"

    def make(self, server: str, *, names: Sequence[str]) -> None:
        """Write all of them for an API server at `server` (https://…), which is known by `names` (hosts and addresses)."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_certificate(self.certificate, self.certificate_key, names)
        write_private(
            self.accounts_key,
            ec.generate_private_key(ec.SECP256R1())
            .private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
            .decode(),
        )
        write_private(self.tokens, "")
        with self.tokens.open("w", newline="") as file:
            for user, (name, groups) in _USERS.items():
                token = secrets.token_urlsafe(24)
                csv.writer(file).writerow([token, name, user, groups])
                write_private(self.kubeconfig(user), self._kubeconfig(server, token))

    def _kubeconfig(self, server: str, token: str) -> str:
        authority = base64.b64encode(self.certificate.read_bytes()).decode()
        cluster = {"server": server, "certificate-authority-data": authority}
        # JSON is YAML.
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "parley-test", "cluster": cluster}],
                "users": [{"name": "parley-test", "user": {"token": token}}],
                "contexts": [
                    {"name": "parley-test", "context": {"cluster": "parley-test", "user": "parley-test"}}
                ],
                "current-context": "parley-test",
            },
            indent=1,
        )
