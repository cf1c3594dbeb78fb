"""The orchestrator in a process of its own, on a Parley host: `python orchestrator_process.py LISTEN STORE REGISTRY`."""

import asyncio
import json
import sys
from pathlib import Path

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from parley_core.lean import load_sdk

if __name__ == "__main__":
    load_sdk()  # as `parley host` does
    from parley_agents import orchestrator
    from parley_agents.orchestrator.settings import load_settings
    from parley_core.telemetry import configure_logging
    from parley_runtime.host import AgentHost
    from parley_runtime.settings import HostSettings

    listen, store, registry = sys.argv[1:]
    configure_logging("info")
    text = (Path(orchestrator.__file__).parent / "card.json").read_text()
    about = ParseDict(json.loads(text), pb.AgentCard())
    # It finds agents in the registry without being published itself: the registry of these tests only answers.
    settings = HostSettings(listen=listen, store=store, lease=1.0, max_attempts=100)
    executor = orchestrator.Orchestrator(load_settings().model_copy(update={"registry": registry}))
    asyncio.run(AgentHost(about, executor, settings).run())
