"""Fixtures of the fault tests."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from replicas import Fleet, fleet_of

Make = Callable[[str], Fleet]


@pytest.fixture(params=("sqlite", "postgres"))
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes a fleet of an executor, on each store; every process is gone afterwards."""
    settings = {}
    if request.param == "postgres":
        settings["store"] = request.getfixturevalue("postgres_dsn")
    with ExitStack() as stack:
        yield lambda executor: stack.enter_context(fleet_of(tmp_path, executor, settings))


@pytest.fixture
def on_postgres(postgres_dsn: str, tmp_path: Path) -> Iterator[Make]:
    """Makes a fleet of an executor on PostgreSQL; every process is gone afterwards."""
    with ExitStack() as stack:
        yield lambda executor: stack.enter_context(fleet_of(tmp_path, executor, {"store": postgres_dsn}))
