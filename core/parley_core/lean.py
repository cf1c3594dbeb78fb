"""Libraries without the parts of them that Parley never uses: httpx's command line (with rich and its like), the SDK's
stores on SQLAlchemy and its routes for FastAPI.

In a host they are a third of the time in which it starts, and 24 MB of its memory. Who uses them (an executor) gets
them: they are loaded when somebody asks for them.
"""

import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

_SPARED = {
    "httpx": {"main": "httpx._main"},
    "a2a.server.cluster": {
        "DatabaseTaskEventStream": "a2a.server.cluster.database_event_stream",
        "VersionedDatabaseTaskStore": "a2a.server.cluster.database_task_store",
    },
    "a2a.server.routes": {"add_a2a_routes_to_fastapi": "a2a.server.routes.fastapi_routes"},
    "a2a.server.tasks": {
        "DatabasePushNotificationConfigStore": "a2a.server.tasks.database_push_notification_config_store",
        "DatabaseTaskStore": "a2a.server.tasks.database_task_store",
    },
}
"""Packages, and what they import at once of modules that are for nothing else: name and module."""


def load_sdk() -> None:
    """`load` all that a host needs of the SDK's server."""
    load(*_SPARED)


def load(*packages: str) -> None:
    """Import these packages, and leave such parts of them for later. For a process of ours alone, before anything
    else in it imports one; does nothing for those that are imported already."""
    waiting = {package: _SPARED[package] for package in packages if package not in sys.modules}
    modules = {module: name for names in waiting.values() for name, module in names.items()}
    for module, name in modules.items():
        place = ModuleType(module)
        setattr(place, name, type(name, (), {}))
        sys.modules[module] = place
    try:
        for package in waiting:
            with suppress(ModuleNotFoundError):  # in another release of the SDK, which has no such package
                import_module(package)
    finally:
        for module in modules:
            del sys.modules[module]
    for package, names in waiting.items():
        if package in sys.modules:
            _on_demand(sys.modules[package], names)


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
