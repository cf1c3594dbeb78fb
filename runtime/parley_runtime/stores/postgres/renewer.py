"""Renewing a worker's lease from a thread of its own, so that an executor that blocks the event loop does not lose it."""

import asyncio
import contextlib
import logging
import threading
from typing import Any

from parley_runtime.stores.postgres import statements as sql
from parley_runtime.stores.postgres.connection import GONE, Address, connect

log = logging.getLogger(__name__)


class Renewer:
    """Renews every third of the lease until stopped; what the database is away for is made up when it is back."""

    def __init__(self, address: Address, worker: str, version: str, lease: float) -> None:
        self._address = address
        self._row = (worker, version, lease)
        self._every = lease / 3
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="parley-lease", daemon=True)

    def start(self) -> None:
        """Begin; the worker's row has been written once."""
        self._thread.start()

    async def stop(self) -> None:
        """End, so that the row is not written again."""
        with contextlib.suppress(RuntimeError):  # its loop is over
            self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join, 5.0)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._renew())
        finally:
            self._loop.close()

    async def _renew(self) -> None:
        connection: Any = None
        failed = False
        while not await self._stopped(self._every if not failed else min(self._every, 0.5)):
            try:
                if connection is None:
                    connection = await connect(self._address, "lease", hot=True)
                await connection.execute(sql.RENEW, *self._row, timeout=max(1.0, self._every))
                failed = False
            except Exception as error:  # noqa: BLE001 - a lease is renewed for as long as the process lives
                if not failed:
                    log.warning("the lease of this worker was not renewed: %s", type(error).__name__)
                failed = True
                if connection is not None:
                    connection.terminate()
                    connection = None
        if connection is not None:
            with contextlib.suppress(*GONE):
                await connection.close(timeout=2)

    async def _stopped(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()
