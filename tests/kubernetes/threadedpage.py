"""A page of this machine for pods, served by threads of the test."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class ThreadedPage:
    """Use as a context manager; `url` is known before. `handler` makes what answers one connection."""

    def __init__(
        self, address: str, handler: Callable[[Any, Any, Any], BaseHTTPRequestHandler], port: int = 0
    ) -> None:
        self._server = ThreadingHTTPServer((address, port), handler)
        self.port = self._server.server_port
        self.url = f"http://{address}:{self.port}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
