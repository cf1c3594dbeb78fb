"""Makes `registry_service` importable under importlib mode, and offers a running registry."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from record_backend import backend, record
from registry_service import RegistryThread

__all__ = ["backend", "record", "registry"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryThread]:
    """A registry of its own, on a real socket."""
    with RegistryThread(tmp_path / "registry.db", ttl=1.0) as running:
        yield running
