"""RocketMQ that lets nobody in unasked: access control (ACL 2.0) with the keys of a first user, and TLS."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.files import write_private

_AUTH = "org.apache.rocketmq.auth"
_PROXY = "org.apache.rocketmq.proxy.auth"


@dataclass(frozen=True, slots=True)
class Access:
    """What is added to the configuration of the broker and of the proxy, so that who calls must sign, and may do only
    what a policy allows."""

    broker: Mapping[str, str]
    proxy: Mapping[str, object]

    @classmethod
    def make(cls, conf: Path, certificate: Path, key: Path) -> "Access":
        """With a first user who may do all, its keys in `conf`/tools.yml as RocketMQ's own tools take them; and the
        settings of TLS for all three in `conf`/tls/tls.properties."""
        tls = {"tls.test.mode.enable": "false", "tls.server.certPath": certificate, "tls.server.keyPath": key}
        (conf / "tls" / "tls.properties").write_text("".join(f"{n}={value}\n" for n, value in tls.items()))
        name, password = "parley", secrets.token_urlsafe(18)
        write_private(conf / "tools.yml", f"accessKey: {name}\nsecretKey: {password}\n")
        inner = json.dumps({"accessKey": name, "secretKey": password})
        both = {
            "authenticationEnabled": True,
            "authorizationEnabled": True,
            "innerClientAuthenticationCredentials": inner,
        }
        broker = {
            **{
                setting: str(value).lower() if value is True else str(value)
                for setting, value in both.items()
            },
            "authenticationMetadataProvider": f"{_AUTH}.authentication.provider.LocalAuthenticationMetadataProvider",
            "authorizationMetadataProvider": f"{_AUTH}.authorization.provider.LocalAuthorizationMetadataProvider",
            "initAuthenticationUser": json.dumps({"username": name, "password": password}),
        }
        proxy = {
            **both,
            "enableAclRpcHookForClusterMode": True,  # else it signs nothing that it asks of brokers itself
            "authenticationMetadataProvider": f"{_PROXY}.ProxyAuthenticationMetadataProvider",
            "authorizationMetadataProvider": f"{_PROXY}.ProxyAuthorizationMetadataProvider",
        }
        return cls(broker, proxy)
