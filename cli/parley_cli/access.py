"""How a command proves to agents and registries who calls: with a bearer token, if one was given."""

import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx

from parley_core.bearer import Bearer
from parley_core.errors import ConfigurationError
from parley_registry.client import Registry, RegistryClient, catalogue, nearest


@dataclass(frozen=True, slots=True)
class Access:
    """What a command may show when it calls: `token` to the agent that is called and to the registry, to the
    registry `registry_token` instead where there is one. Neither is ever printed or logged."""

    token: Bearer | None = None
    registry_token: str = ""

    @classmethod
    def given(cls, file: str | Path | None = None) -> "Access":
        """The token in `file`, else in the file PARLEY_TOKEN_FILE, else in PARLEY_TOKEN, else none; for the registry
        PARLEY_REGISTRY_TOKEN goes first. Raises ConfigurationError when a file holds none."""
        chosen = file or os.environ.get("PARLEY_TOKEN_FILE")
        text = os.environ.get("PARLEY_TOKEN", "").strip()
        token = Bearer(file=Path(chosen).expanduser()) if chosen else Bearer(text) if text else None
        if token and not token.text.isascii():
            raise ConfigurationError("PARLEY_TOKEN does not hold a bearer token")
        return cls(token, os.environ.get("PARLEY_REGISTRY_TOKEN", "").strip())

    def __repr__(self) -> str:
        return "Access(…)"

    def http(self) -> httpx.AsyncClient:
        """A client for calls to agents."""
        # With all of A2A, which commands that ask the registry alone can do without.
        from parley_agents.orchestrator.peer import http_client

        client = http_client()
        if self.token:
            client.auth = self.token
        return client

    def registry(self, address: str) -> AbstractAsyncContextManager[Registry]:
        """The registry at an address; of a Nacos a catalogue that is registered there and answers, else Nacos itself."""
        return nearest(address, token=self._shown_to_registry)

    def catalogue(self, registry: str) -> AbstractAsyncContextManager[RegistryClient]:
        """A client of the registry service at an address; of a Nacos, of the catalogue that is registered there."""
        return catalogue(registry, token=self._shown_to_registry)

    @property
    def _shown_to_registry(self) -> Bearer | None:
        return Bearer(self.registry_token) if self.registry_token else self.token
