"""Readiness asks for a write too: a store that can be read but not written is not ready."""

import asyncio
import subprocess
import sys
from pathlib import Path

CHILD = """
import asyncio, os, resource, sys
from parley_core.errors import Unavailable
from parley_runtime.store import NewMessage
from parley_runtime.stores.sqlite import SqliteStore

async def main():
    store = SqliteStore(f"sqlite:///{sys.argv[1]}/s.db")
    await store.open()
    full = os.path.getsize(f"{sys.argv[1]}/s.db-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    try:
        await store.ping()
    except Unavailable as error:
        print("full:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.ping()
    print("room again")
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    for _ in range(1000):
        await store.ping()
    print("asked rarely")
    await store.close()

asyncio.run(main())
"""


async def test_a_store_without_room_for_a_write_is_not_ready_until_there_is_some(tmp_path: Path) -> None:
    """The disk is full by a limit on the size of files, set in a process of its own."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CHILD, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("full: the store does not answer")
    assert done.stdout.splitlines()[1:] == ["room again", "asked rarely"]
