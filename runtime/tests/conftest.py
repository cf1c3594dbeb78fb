"""Every store of the contract tests, empty, twice open."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parley_runtime.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from stores import BACKENDS, Database


@pytest.fixture(params=BACKENDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database of each backend in turn."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/s.db" if sqlite else request.getfixturevalue("postgres_dsn")
    database = Database(url)
    yield database
    await database.close()


@pytest.fixture
async def stores(database: Database) -> tuple[Store, Store]:
    """Two stores on one database, as two processes would have them."""
    return await database.open(), await database.open()
