"""The SDK's server side without what a host never uses of it: its stores on SQLAlchemy and its routes for FastAPI.

They are a third of the time in which a host starts, and 24 MB of its memory. An executor that uses them gets them:
they are loaded when somebody asks for them.
"""

import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

_SPARED = {
    "a2a.server.cluster.database_event_stream": "DatabaseTaskEventStream",
    "a2a.server.cluster.database_task_store": "VersionedDatabaseTaskStore",
    "a2a.server.routes.fastapi_routes": "add_a2a_routes_to_fastapi",
    "a2a.server.tasks.database_push_notification_config_store": "DatabasePushNotificationConfigStore",
    "a2a.server.tasks.database_task_store": "DatabaseTaskStore",
}
"""Modules that their packages import at once, each for this one name."""


def load_sdk() -> None:
    """Import the packages of the SDK that a host needs, so that these modules are left for later. For the process
    of a host alone, before anything else of the SDK's server is imported; does nothing for what has been."""
    waiting = {name: only for name, only in _SPARED.items() if _package(name) not in sys.modules}
    for name, only in waiting.items():
        place = ModuleType(name)
        setattr(place, only, None)
        sys.modules[name] = place
    try:
        for name in waiting:
            with suppress(ModuleNotFoundError):  # of another release of the SDK, which has no such package
                import_module(_package(name))
    finally:
        for name in waiting:
            del sys.modules[name]
    for name in waiting:
        if package := sys.modules.get(_package(name)):
            _on_demand(
                package, {only: name for name, only in waiting.items() if _package(name) == package.__name__}
            )


def _package(module: str) -> str:
    return module.rpartition(".")[0]


def _on_demand(package: ModuleType, modules: dict[str, str]) -> None:
    """Have a package import each of these names from its module when it is asked for."""

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
        found = getattr(import_module(modules[name]), name)
        setattr(package, name, found)
        return found

    for name in modules:
        vars(package).pop(name, None)
    package.__getattr__ = find  # type: ignore[method-assign]
