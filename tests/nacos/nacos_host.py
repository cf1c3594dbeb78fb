"""A host as a process of its own: `python nacos_host.py`, settings from PARLEY_… variables; and `HostProcess`, which runs it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types import a2a_pb2 as pb

from engines.ports import free_port


class Echo(AgentExecutor):
    """Says what it was told."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = pb.Part(text=context.get_user_input())
        await event_queue.enqueue_event(pb.Message(message_id="1", role=pb.Role.ROLE_AGENT, parts=[text]))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


def card() -> pb.AgentCard:
    return pb.AgentCard(
        name="echo",
        description="Says what it was told",
        version="1.0.0",
        capabilities=pb.AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="echo", name="Echo", description="Says it again", tags=["echo"])],
    )


class HostProcess:
    """One host that publishes itself to `registry`; ends with the block, by kill -9."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = ""
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "PARLEY_LISTEN": self.url.removeprefix("http://"),
                "PARLEY_STORE": f"sqlite:///{folder / 'host.db'}",
                "PARLEY_REGISTRY": registry,
                "PARLEY_LOG_LEVEL": "debug",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if error is not None:
            print(self.log)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait(20)
        self._reader.join(20)

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(30)
        self._reader.join(20)
        return code

    def pause(self) -> None:
        """Let it hang …"""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """… and go on."""
        self._process.send_signal(signal.SIGCONT)

    async def readyz(self) -> dict[str, Any]:
        """What it says of itself; {} while it does not answer."""
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
            try:
                answered: dict[str, Any] = (await http.get(f"{self.url}/readyz")).json()
            except httpx.HTTPError:
                return {}
            return answered

    async def ready(self) -> bool:
        return (await self.readyz()).get("status") == "ready"

    async def answers(self) -> bool:
        """Whether it does what it is there for."""
        message = {"messageId": os.urandom(8).hex(), "role": "ROLE_USER", "parts": [{"text": "hello"}]}
        call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as http:
            said = await http.post(f"{self.url}/a2a/jsonrpc", json=call, headers={"A2A-Version": "1.0"})
            return "hello" in said.text

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log += line


def main() -> None:
    import uvloop

    from parley_core.telemetry import configure_logging
    from parley_runtime.host import AgentHost
    from parley_runtime.settings import HostSettings

    settings = HostSettings()
    configure_logging(settings.log_level, form="text")
    uvloop.run(AgentHost(card(), Echo(), settings).run())


if __name__ == "__main__":
    main()
