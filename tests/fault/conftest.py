"""Fixtures of the fault tests."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from replicas import Fleet, fleet_of


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Callable[[str], Fleet]]:
    """Makes a fleet of an executor; every process is gone afterwards."""
    with ExitStack() as stack:
        yield lambda executor: stack.enter_context(fleet_of(tmp_path, executor))
