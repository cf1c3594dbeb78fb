"""RocketMQ's generated gRPC stubs, as published in the package rocketmq-python-client.

The package's `__init__` brings a whole synchronous client with it, which opens log files in the home directory and
configures OpenTelemetry. Only its generated modules are wanted, so they are imported under a bare parent that has the
package's path and runs nothing.
"""

import importlib
import importlib.util
import sys
from types import ModuleType

from parley_core.errors import ConfigurationError


def _load() -> tuple[ModuleType, ModuleType, ModuleType]:
    found = importlib.util.find_spec("rocketmq")
    if found is None or found.submodule_search_locations is None:
        raise ConfigurationError("rocketmq:// needs the package rocketmq-python-client; install it")
    before = sys.modules.get("rocketmq")
    if before is None:
        bare = ModuleType("rocketmq")
        bare.__path__ = list(found.submodule_search_locations)
        sys.modules["rocketmq"] = bare
    try:
        names = ("definition_pb2", "service_pb2", "service_pb2_grpc")
        definition, service, stub = (
            importlib.import_module(f"rocketmq.grpc_protocol.{name}") for name in names
        )
    finally:
        if before is None:
            del sys.modules["rocketmq"]  # whoever imports the package for itself gets all of it
    return definition, service, stub


definition, service, stub = _load()
