"""Hosted agents in one process: `python agent_process.py '[[CARD, SETTINGS], …]'`.

The apps are served by a server of our own, whose lifespan starts and stops the hosts.
"""

import asyncio
import contextlib
import importlib.util
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop
from a2a.server.agent_execution import AgentExecutor
from a2a.types import a2a_pb2 as pb

from parley_core.telemetry import configure_logging
from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings, parse_listen

EXTENSION = "https://example.com/extensions/required/v1"


def card(name: str) -> pb.AgentCard:
    """`full` claims everything, `modest` nothing, `strict` requires an extension, `promising` claims an
    extended card that it does not have."""
    capabilities = pb.AgentCapabilities()
    if name != "modest":
        capabilities.streaming = capabilities.push_notifications = capabilities.extended_agent_card = True
    if name == "strict":
        capabilities.extensions.add(uri=EXTENSION, required=True)
    return pb.AgentCard(
        name=name,
        description=f"A {name} agent for tests of behaviour",
        version="1.0.0",
        capabilities=capabilities,
        default_input_modes=["text/plain", "application/json", "application/octet-stream"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="obey", name="obey", description="does what it is told", tags=["test"])],
    )


def main() -> None:
    path = Path(__file__).with_name("executors.py")
    spec = importlib.util.spec_from_file_location("behaviour_executors", path)
    assert spec is not None
    assert spec.loader is not None
    executors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(executors)
    configure_logging("warning", form="text")
    uvloop.run(_serve([_host(*described, executors.Obedient()) for described in json.loads(sys.argv[1])]))


def _host(name: str, settings: dict[str, str], executor: AgentExecutor) -> AgentHost:
    extended = None
    if name == "full":
        extended = card(name)
        extended.skills.add(id="secret", name="secret", description="for those who log in", tags=["test"])
    return AgentHost(card(name), executor, HostSettings.model_validate(settings), extended_card=extended)


async def _serve(hosts: list[AgentHost]) -> None:
    servers = []
    for host in hosts:
        name, port = parse_listen(host.settings.listen)
        config = uvicorn.Config(
            host.app, name, port, log_config=None, access_log=False, timeout_graceful_shutdown=2
        )
        servers.append(_Server(config))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, servers)
    async with asyncio.TaskGroup() as group:
        for server in servers:
            group.create_task(server.serve())


def _stop(servers: list["_Server"]) -> None:
    for server in servers:
        server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process has one handler for all its servers."""
        yield


if __name__ == "__main__":
    main()
