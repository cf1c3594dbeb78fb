"""By which keys the tokens of the cluster's service accounts are verified.

Pods are given no way to the API server: the operator reads who issues tokens and by which keys, hands both to the agents'
pods with the rest of their settings, and writes them into a ConfigMap for the registry's.
"""

import asyncio
import logging
from dataclasses import dataclass

import orjson

from parley_operator.kube.client import Kube
from parley_operator.kube.errors import KubeError
from parley_operator.kube.kinds import CONFIG_MAP
from parley_operator.kube.wire import Wire

_log = logging.getLogger(__name__)

_EVERY = 60.0
"""Seconds between two looks: keys are rotated within days, and a new one is published before it signs."""


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """Who issues tokens (their `iss`), and a JSON Web Key Set that verifies them."""

    issuer: str
    jwks: str


async def read_token_keys(wire: Wire) -> TokenKeys:
    """What the API server says of the tokens that it issues. Raises KubeError.

    The keys are the API server's own, wherever its `jwks_uri` leads: a provider may publish them elsewhere too.
    """
    told = await wire.call("GET", "/.well-known/openid-configuration")
    keys = await wire.call("GET", "/openid/v1/jwks", accept="application/jwk-set+json")
    return TokenKeys(str(told["issuer"]), orjson.dumps(keys, option=orjson.OPT_SORT_KEYS).decode())


class Issuer:
    """Keeps `keys` as they are, and the ConfigMap with them: `issuer` and `jwks.json`."""

    def __init__(self, wire: Wire, kube: Kube, namespace: str, name: str) -> None:
        self._wire = wire
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._written: TokenKeys | None = None
        self.keys: TokenKeys | None = None
        """None until they were read for the first time."""

    async def refresh(self) -> TokenKeys:
        """Read them now. Raises KubeError."""
        self.keys = await read_token_keys(self._wire)
        return self.keys

    async def run(self) -> None:
        """Read them every minute and write them down, until cancelled. For the leader."""
        self._written = None
        while True:
            try:
                keys = await self.refresh()
                if keys != self._written:
                    await self._write(keys)
                    self._written = keys
            except KubeError as error:
                _log.warning("the keys of service accounts' tokens are not brought up to date: %s", error)
            await asyncio.sleep(_EVERY if self._written else 2.0)

    async def _write(self, keys: TokenKeys) -> None:
        wanted = {
            "apiVersion": CONFIG_MAP.api,
            "kind": CONFIG_MAP.name,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "data": {"issuer": keys.issuer, "jwks.json": keys.jwks},
        }
        await self._kube.apply(wanted, force=True)
