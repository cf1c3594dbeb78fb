"""Replicas as real processes on one store, and a client that speaks plain HTTP to them."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from engines.ports import free_port

HEADERS = {"A2A-Version": "1.0", "Content-Type": "application/json"}


@dataclass
class Replica:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def rpc(self) -> str:
        return f"http://127.0.0.1:{self.port}/a2a/jsonrpc"

    def ready(self) -> bool:
        """Whether it says that it is."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self, seconds: float = 120, *, doomed: bool = False) -> None:
        """Return when it is ready; a doomed one may die before that."""
        deadline = time.monotonic() + seconds
        while not self.ready():
            if self.process.poll() is not None:
                if doomed:
                    return
                raise AssertionError(f"the replica ended at start:\n{self.log.read_text()}")
            assert time.monotonic() < deadline, f"the replica is not ready:\n{self.log.read_text()}"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9: no handler runs, nothing is flushed."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@dataclass
class Fleet:
    """Replicas of one agent over one store: a file in `home`, unless `settings` name another."""

    home: Path
    executor: str
    settings: dict[str, str] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)

    @property
    def effects(self) -> list[str]:
        path = self.home / "effects"
        return path.read_text().splitlines() if path.exists() else []

    def start(self, role: str = "front,worker", *, doomed: bool = False, **settings: str) -> Replica:
        """Start a replica and return when it is ready; a doomed one may die before that."""
        replica = self.spawn(role, **settings)
        replica.wait_ready(doomed=doomed)
        return replica

    def spawn(
        self, role: str, port: int = 0, environment: dict[str, str] | None = None, **settings: str
    ) -> Replica:
        """Start a replica, at a free port unless it is to have a certain one, and do not wait for it."""
        port = port or free_port()
        log = self.home / f"replica-{len(self.replicas)}.log"
        named = {"store": f"sqlite:///{self.home}/agent.db", "lease": "2", **self.settings, **settings}
        env = {
            **os.environ,
            "EFFECTS": str(self.home / "effects"),
            "PARLEY_LISTEN": f"127.0.0.1:{port}",
            "PARLEY_ROLE": role,
            **{f"PARLEY_{name.upper()}": value for name, value in named.items()},
            **(environment or {}),
        }
        command = [sys.executable, str(Path(__file__).with_name("host_process.py")), self.executor]
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT)
        replica = Replica(port, process, log)
        self.replicas.append(replica)
        return replica

    def close(self) -> None:
        for replica in self.replicas:
            if replica.process.poll() is None:
                replica.process.send_signal(signal.SIGCONT)
                replica.kill()


@contextmanager
def fleet_of(home: Path, executor: str, settings: dict[str, str] | None = None) -> Iterator[Fleet]:
    fleet = Fleet(home, executor, settings or {})
    try:
        yield fleet
    finally:
        fleet.close()


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": text}], **more}


def request(method: str, params: dict[str, Any]) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


async def call(replica: Replica, method: str, params: dict[str, Any], timeout: float = 30) -> dict[str, Any]:
    """The JSON-RPC answer: a dict with "result" or "error"."""
    async with httpx.AsyncClient(timeout=timeout) as client:
        answer = await client.post(replica.rpc, content=request(method, params), headers=HEADERS)
        return orjson.loads(answer.content)


async def send(replica: Replica, text: str, *, wait: bool = True, **more: Any) -> dict[str, Any]:
    params = {"message": message(text, **more), "configuration": {"returnImmediately": not wait}}
    return await call(replica, "SendMessage", params)


async def get(replica: Replica, task_id: str) -> dict[str, Any]:
    return (await call(replica, "GetTask", {"id": task_id}))["result"]


@asynccontextmanager
async def stream(
    replica: Replica, method: str, params: dict[str, Any], after: int | None = None
) -> AsyncIterator[AsyncIterator[tuple[int, dict[str, Any]]]]:
    """An open event stream as (SSE id, StreamResponse)."""
    headers = {**HEADERS, "Accept": "text/event-stream"}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    async with httpx.AsyncClient(timeout=httpx.Timeout(20)) as client:
        async with client.stream(
            "POST", replica.rpc, content=request(method, params), headers=headers
        ) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream"), await answer.aread()
            yield _events(answer)


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    number = -1
    async for line in answer.aiter_lines():
        if line.startswith("id:"):
            number = int(line[3:])
        elif line.startswith("data:"):
            body = orjson.loads(line[5:])
            assert "error" not in body, body
            yield number, body["result"]


def numbers(task: dict[str, Any]) -> list[str]:
    """The chunks of the Counter's artifact."""
    return [part["text"] for part in task["artifacts"][0]["parts"]]


def state(event: dict[str, Any]) -> str:
    """The state an event carries, or ""."""
    inner = event.get("statusUpdate") or event.get("task") or {}
    return inner.get("status", {}).get("state", "")
