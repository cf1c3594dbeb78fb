"""The HTTP server of a host: its listener, and how it stops."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from parley_core.errors import ConfigurationError
from parley_runtime.settings import parse_listen


class HttpServer(uvicorn.Server):
    """uvicorn as a host runs it; signals are the host's. Raises ConfigurationError when the address cannot be had."""

    def __init__(self, app: ASGIApp, listen: str, *, grace: float) -> None:
        host, port = parse_listen(listen)
        self._listener = _listener(host, port)
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(grace) + 2,
            backlog=2048,
            http="httptools",
            server_header=False,
            proxy_headers=False,
        )
        super().__init__(config)

    async def run_until_told(self) -> None:
        """Serve until `stop_listening`; then end when the open calls have been answered, or `grace` has passed."""
        await self.serve(sockets=[self._listener])

    def part(self) -> None:
        """Have every answer close its connection, within a second, so that callers move to another replica."""
        self.config.encoded_headers.append((b"connection", b"close"))

    def stop_listening(self) -> None:
        """Close the port, and each connection when its call has been answered."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the host's."""
        yield


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol said, asyncio sets TCP_NODELAY; without, an answer can wait 40 ms for a delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --listen"
        ) from error
    return listener
