"""Fixtures of the pages' tests: a registry with agents, and a visitor with a real browser.

The browser is of a module's tests together, so that its event loop is gone before another module's begins.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browsed import World, world
from browser import Visitor, started
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as found:
        yield found


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("pages")) as made:
        yield made


@pytest.fixture
def visitor(browser: Browser, here: World) -> Iterator[Visitor]:
    """A visitor whose browser must have nothing to complain of, and must have called nobody but the registry."""
    found = Visitor(browser, here.url)
    try:
        yield found
    finally:
        found.leave()
    assert found.complaints == []
    assert found.foreign == []
