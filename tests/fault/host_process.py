"""One replica as a process of its own: `python host_process.py [MODULE:]EXECUTOR`, settings from PARLEY_… variables."""

import importlib
import os
import sys
import time

import uvloop
from a2a.types import a2a_pb2 as pb

from parley_core.lean import load_sdk

CARD = pb.AgentCard(
    name="fault",
    description="An agent that faults are done to",
    version="1.0.0",
    capabilities=pb.AgentCapabilities(streaming=True, push_notifications=True),
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[pb.AgentSkill(id="s", name="s", description="s", tags=["s"])],
)


def shift_clock(seconds: float) -> None:
    """Have this process believe that it is so much later (the monotonic clock stays as it is)."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)


def main() -> None:
    shift_clock(float(os.environ.get("CLOCK_AHEAD", "0")))
    load_sdk()  # as `parley host` does
    from parley_core.telemetry import configure_logging
    from parley_runtime.host import AgentHost
    from parley_runtime.settings import HostSettings

    module, _, name = sys.argv[1].rpartition(":")
    executor = getattr(importlib.import_module(module or "executors"), name)()
    configure_logging("info", form="text")
    uvloop.run(AgentHost(CARD, executor, HostSettings()).run())


if __name__ == "__main__":
    main()
