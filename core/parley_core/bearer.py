"""The bearer token that a client shows: given, or read from a file anew for each request."""

from collections.abc import Generator
from pathlib import Path

import httpx

from parley_core.errors import ConfigurationError


class Bearer(httpx.Auth):
    """A bearer token. From a file it is read anew for each request, so one that is renewed there (as Kubernetes renews
    those that it projects into a pod) stays good. It is in no repr, message or log."""

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


def bearer(text: str = "", file: Path | None = None) -> Bearer | None:
    """The token in a file, else the one given, else None."""
    return Bearer(file=file) if file is not None else Bearer(text) if text else None
