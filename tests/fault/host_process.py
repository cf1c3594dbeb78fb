"""One replica as a process of its own: `python host_process.py EXECUTOR`, settings from PARLEY_… variables."""

import importlib.util
import sys
from pathlib import Path

import uvloop
from a2a.types import a2a_pb2 as pb

from parley_core.telemetry import configure_logging
from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings

CARD = pb.AgentCard(
    name="fault",
    description="An agent that faults are done to",
    version="1.0.0",
    capabilities=pb.AgentCapabilities(streaming=True, push_notifications=True),
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[pb.AgentSkill(id="s", name="s", description="s", tags=["s"])],
)


def main() -> None:
    spec = importlib.util.spec_from_file_location("executors", Path(__file__).with_name("executors.py"))
    assert spec is not None
    assert spec.loader is not None
    executors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(executors)
    configure_logging("info", as_json=False)
    uvloop.run(AgentHost(CARD, getattr(executors, sys.argv[1])(), HostSettings()).run())


main()
