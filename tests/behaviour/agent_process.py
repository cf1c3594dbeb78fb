"""One hosted agent as a process: `python agent_process.py CARD`, settings from PARLEY_… variables."""

import importlib.util
import sys
from pathlib import Path

import uvloop
from a2a.types import a2a_pb2 as pb

from parley_core.telemetry import configure_logging
from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings

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
    configure_logging("warning", as_json=False)
    extended = None
    if sys.argv[1] == "full":
        extended = card("full")
        extended.skills.add(id="secret", name="secret", description="for those who log in", tags=["test"])
    host = AgentHost(card(sys.argv[1]), executors.Obedient(), HostSettings(), extended_card=extended)
    uvloop.run(host.run())


if __name__ == "__main__":
    main()
