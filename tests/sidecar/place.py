"""A plain A2A server with a sidecar before it, both real processes that can be killed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from engines.ports import free_port

_ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("PARLEY_")}
_PLAIN = Path(__file__).with_name("plain_server.py")


@dataclass
class Place:
    """`server` behind `front`; `marks` is what the server began."""

    folder: Path
    store: str
    words: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    server: "subprocess.Popen[bytes] | None" = None
    sidecar: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.ports[1]}"
        self.http = httpx.Client(
            base_url=self.url, trust_env=False, timeout=60, headers={"A2A-Version": "1.0"}
        )

    @property
    def marks(self) -> list[str]:
        path = self.folder / "marks"
        return path.read_text().splitlines() if path.exists() else []

    def serve(self) -> None:
        """Start the server."""
        words = [sys.executable, str(_PLAIN), str(self.ports[0]), str(self.folder / "marks"), *self.words]
        with (self.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(words, env=_ENVIRONMENT, stderr=log, cwd=self.folder)

    def stand(self, *, ready: bool = True) -> None:
        """Start the sidecar."""
        words = ["-m", "parley_cli.main", "host", "--forward", f"http://127.0.0.1:{self.ports[0]}"]
        place = ["--listen", self.url.removeprefix("http://"), "--store", self.store, "--lease", "1"]
        with (self.folder / "sidecar.log").open("ab") as log:
            self.sidecar = subprocess.Popen(
                [sys.executable, *words, *place, *self.options], env=_ENVIRONMENT, stderr=log, cwd=self.folder
            )
        if ready:
            self.until_ready()

    def until_ready(self, wanted: int = 200, seconds: float = 60) -> str:
        """What the sidecar's readiness says when it is that status."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self.http.get("/readyz")
                if answer.status_code == wanted:
                    return answer.text
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline, (self.folder / "sidecar.log").read_text()[-3000:]
            time.sleep(0.1)

    def kill(self, which: "subprocess.Popen[bytes] | None") -> None:
        """kill -9."""
        assert which is not None
        which.kill()
        which.wait(15)

    def send(self, text: str, *, wait: bool = True, **ids: str) -> dict[str, Any]:
        """Send a message; the Task or Message that is answered."""
        message = {"messageId": os.urandom(8).hex(), "role": "ROLE_USER", "parts": [{"text": text}], **ids}
        body = {"message": message, "configuration": {"returnImmediately": not wait}}
        answer = self.http.post("/a2a/rest/message:send", json=body)
        told = answer.json()
        return told.get("task") or told.get("message") or told

    def task(self, task_id: str) -> dict[str, Any]:
        return self.http.get(f"/a2a/rest/tasks/{task_id}").json()

    def ended(self, task_id: str, seconds: float = 60) -> dict[str, Any]:
        """The task when it has ended or asks."""
        return self.reached(
            task_id, ("COMPLETED", "FAILED", "CANCELED", "REJECTED", "INPUT_REQUIRED"), seconds
        )

    def reached(self, task_id: str, states: tuple[str, ...], seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (task := self.task(task_id))["status"]["state"].removeprefix("TASK_STATE_") not in states:
            assert time.monotonic() < deadline, f"{task} {(self.folder / 'sidecar.log').read_text()[-3000:]}"
            time.sleep(0.1)
        return task

    def begun(self, task_id: str, pieces: int = 2) -> None:
        """Return when a task that counts has said so many numbers."""
        deadline = time.monotonic() + 60
        while len(text(self.task(task_id)).split()) < pieces:
            assert time.monotonic() < deadline, (self.folder / "sidecar.log").read_text()[-3000:]
            time.sleep(0.05)


def text(task: dict[str, Any]) -> str:
    """What the task's artifacts say."""
    return "".join(part["text"] for one in task.get("artifacts", ()) for part in one["parts"])


def state(task: dict[str, Any]) -> str:
    return str(task["status"]["state"]).removeprefix("TASK_STATE_")


@contextmanager
def place(folder: Path, store: str, *words: str, options: tuple[str, ...] = ()) -> Iterator[Place]:
    """A server and its sidecar; both are killed in the end."""
    made = Place(folder, store, words, options)
    try:
        made.serve()
        made.stand()
        yield made
    finally:
        made.http.close()
        for one in (made.server, made.sidecar):
            if one is not None:
                one.kill()
                one.wait(15)
