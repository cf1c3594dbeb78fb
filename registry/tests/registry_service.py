"""A real registry service for tests: a process of its own on a free port, or uvicorn in a thread."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from engines.ports import free_port
from parley_registry.service import create_app
from parley_registry.settings import RegistrySettings


def wait_ready(url: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"{url} was not ready within {seconds} s")
        time.sleep(0.05)


def address(store: Path | str) -> str:
    return store if isinstance(store, str) else f"sqlite:///{store}"


class RegistryProcess:
    """`python -m parley_registry` on a file or a database; `kill` is kill -9, `stop` is SIGTERM."""

    def __init__(self, store: Path | str, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "parley_registry"),
                *("--listen", f"127.0.0.1:{self.port}", "--store", address(store)),
                *("--log-level", "warning", *options),
            ],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def __enter__(self) -> "RegistryProcess":
        try:
            wait_ready(self.url)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(15)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(15)


class RegistryThread:
    """The same application on a real socket, in a thread of the test's process."""

    def __init__(self, store: Path | str, **settings: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        told = RegistrySettings(listen=f"127.0.0.1:{self.port}", store=address(store), **settings)
        config = uvicorn.Config(
            create_app(told), host="127.0.0.1", port=self.port, log_config=None, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> "RegistryThread":
        self._thread.start()
        wait_ready(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def card_json(name: str = "coder", version: str = "1.0.0", **changes: Any) -> dict[str, Any]:
    """A valid card as ProtoJSON, with members replaced."""
    return {
        "name": name,
        "description": "Edits code in a repository",
        "version": version,
        "supportedInterfaces": [
            {
                "url": "http://127.0.0.1:9999/a2a/jsonrpc",
                "protocolBinding": "JSONRPC",
                "protocolVersion": "1.0",
            }
        ],
        "capabilities": {"streaming": True},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/x-diff"],
        "skills": [
            {
                "id": "edit-code",
                "name": "Edit code",
                "description": "Applies a step of a plan",
                "tags": ["python", "editing"],
            }
        ],
        **changes,
    }
