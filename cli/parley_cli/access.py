"""How a command proves to agents and registries who calls: with a bearer token, if one was given."""

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx

from parley_agents.orchestrator.peer import http_client
from parley_core.errors import ConfigurationError
from parley_registry.client import RegistryClient


class Token(httpx.Auth):
    """A bearer token. From a file it is read anew for each request, so one that is renewed there stays good."""

    def __init__(self, text: str = "", file: Path | None = None) -> None:
        self._text = text
        self._file = file

    @property
    def text(self) -> str:
        """The token now. Raises ConfigurationError when the file cannot be read or holds none."""
        if self._file is None:
            return self._text
        try:
            found = self._file.read_text("ascii").strip()
        except OSError as error:
            raise ConfigurationError(f"cannot read the token in {self._file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{self._file} does not hold a bearer token") from error
        if not found or len(found.split()) > 1:
            raise ConfigurationError(f"{self._file} does not hold a bearer token")
        return found

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token to a request."""
        request.headers["authorization"] = f"Bearer {self.text}"
        yield request


@dataclass(frozen=True, slots=True)
class Access:
    """What a command may show when it calls: `token` to the agent that is called and to the registry, to the
    registry `registry_token` instead where there is one. Neither is ever printed or logged."""

    token: Token | None = None
    registry_token: str = ""

    @classmethod
    def given(cls, file: str | Path | None = None) -> "Access":
        """The token in `file`, else in the file PARLEY_TOKEN_FILE, else in PARLEY_TOKEN, else none; for the registry
        PARLEY_REGISTRY_TOKEN goes first. Raises ConfigurationError when a file holds none."""
        chosen = file or os.environ.get("PARLEY_TOKEN_FILE")
        text = os.environ.get("PARLEY_TOKEN", "").strip()
        token = Token(file=Path(chosen).expanduser()) if chosen else Token(text) if text else None
        if token and not token.text.isascii():
            raise ConfigurationError("PARLEY_TOKEN does not hold a bearer token")
        return cls(token, os.environ.get("PARLEY_REGISTRY_TOKEN", "").strip())

    def __repr__(self) -> str:
        return "Access(…)"

    def http(self) -> httpx.AsyncClient:
        """A client for calls to agents."""
        client = http_client()
        if self.token:
            client.auth = self.token
        return client

    def catalogue(self, registry: str) -> RegistryClient:
        """A client of a registry."""
        token = self.registry_token or (self.token.text if self.token else "")
        return RegistryClient(registry, token=token or None)
