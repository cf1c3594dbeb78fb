"""Limits in a file hold while the host runs, and change with the file."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from stores import Database

from parley_runtime.limitsfile import LimitsFile
from parley_runtime.store import Limits, Store


@pytest.fixture
async def store(database: Database) -> Store:
    return await database.open()


def write(path: Path, told: Any) -> None:
    """As kubelet does: the new file is there at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text(told if isinstance(told, str) else json.dumps(told))
    os.replace(fresh, path)


async def limited(store: Store, wanted: Limits) -> None:
    for _ in range(200):
        if await store.limits() == wanted:
            return
        await asyncio.sleep(0.05)
    assert await store.limits() == wanted


async def test_limits_follow_the_file_and_so_do_priorities(store: Store, tmp_path: Path) -> None:
    path, classes = tmp_path / "limits.json", {"a|b": 1}
    keeper = asyncio.create_task(LimitsFile(path, store, classes).run())
    try:
        write(path, {"rate": 2.5, "burst": 4, "weights": {"i|alice": 3}, "priorities": {"i|bob": 6}})
        await limited(store, Limits(rate=2.5, burst=4, weights={"i|alice": 3.0}))
        assert classes == {"a|b": 1, "i|bob": 6}
        write(path, {"concurrency": 2})
        await limited(store, Limits(concurrency=2))
        assert classes == {"a|b": 1}
    finally:
        keeper.cancel()


@pytest.mark.parametrize("wrong", ["{", '{"rate": -1}', '{"speed": 3}', '{"priorities": {"a": 9}}'])
async def test_limits_that_cannot_be_used_leave_those_before(
    wrong: str, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "limits.json"
    write(path, {"rate": 7})
    keeper = asyncio.create_task(LimitsFile(path, store, {}).run())
    try:
        await limited(store, Limits(rate=7.0))
        write(path, wrong)
        for _ in range(200):
            if "those before stay" in caplog.text:
                break
            await asyncio.sleep(0.05)
        assert "those before stay" in caplog.text
        assert await store.limits() == Limits(rate=7.0)
    finally:
        keeper.cancel()


async def test_without_the_file_nothing_changes(store: Store, tmp_path: Path) -> None:
    await store.set_limits(Limits(rate=3.0))
    keeper = asyncio.create_task(LimitsFile(tmp_path / "none.json", store, {}).run())
    await asyncio.sleep(0.1)
    keeper.cancel()
    await limited(store, Limits(rate=3.0))
