"""The access key of a RocketMQ user (ACL 2.0), with which every call is signed."""

import base64
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from parley_core.errors import ConfigurationError

ACCESS_KEY, SECRET_KEY = "PARLEY_ROCKETMQ_ACCESS_KEY", "PARLEY_ROCKETMQ_SECRET_KEY"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who calls (the user's name), and the secret that signs (the password), which is never sent."""

    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Credentials":
        """From a file as RocketMQ's own tools take it (tools.yml): a line `accessKey: …` and a line `secretKey: …`.
        Raises ConfigurationError."""
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigurationError(f"RocketMQ's access key cannot be read from {path}: {reason}") from None
        pairs = [line.partition(":") for line in lines]
        values = {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
        if not values.get("accessKey") or not values.get("secretKey"):
            raise ConfigurationError(
                f"{path} holds no access key of RocketMQ; write a line `accessKey: …` and a line `secretKey: …`"
            )
        return cls(values["accessKey"], values["secretKey"])

    @classmethod
    def of_environment(cls) -> "Credentials | None":
        """From PARLEY_ROCKETMQ_ACCESS_KEY and PARLEY_ROCKETMQ_SECRET_KEY; None without them. Raises ConfigurationError."""
        access, secret = os.environ.get(ACCESS_KEY, ""), os.environ.get(SECRET_KEY, "")
        if bool(access) != bool(secret):
            missing = SECRET_KEY if access else ACCESS_KEY
            raise ConfigurationError(f"{missing} is not set; RocketMQ's access key has two parts")
        return cls(access, secret) if access else None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What signs a gRPC call, in its metadata."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        signature = self._sign(now.encode()).hex()
        return (
            ("x-mq-date-time", now),
            (
                "authorization",
                f"MQv2-HMAC-SHA1 Credential={self.access_key}, SignedHeaders=x-mq-date-time, Signature={signature}",
            ),
        )

    def signed(self, fields: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        """The fields of a call by the remoting protocol, and what signs them."""
        named = {**fields, "AccessKey": self.access_key}
        content = "".join(value for _, value in sorted(named.items())).encode() + body
        return {**named, "Signature": base64.b64encode(self._sign(content)).decode()}

    def _sign(self, content: bytes) -> bytes:
        return hmac.digest(self.secret_key.encode(), content, "sha1")
