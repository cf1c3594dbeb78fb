"""One writer of an agent at a time, over all processes: Nacos's own lock (from 3.0), and one of this process before it."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Hashable
from typing import Any

from parley_core.errors import ParleyError
from parley_registry.errors import BadRequest, RegistryBusy
from parley_registry.nacos.connection import NacosConnection

log = logging.getLogger(__name__)

HOLD = 15.0
"""Seconds after which a lock whose holder died is free again."""
WAIT = 30.0
"""Seconds that a writer waits for its turn."""


class Locks:
    """Locks of one Nacos cluster."""

    def __init__(self, connection: NacosConnection) -> None:
        self._connection = connection
        self._here: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Nobody else holds `key` meanwhile, unless this takes longer than HOLD.

        Raises RegistryBusy when it is not to be had within WAIT seconds, RegistryUnavailable, NotAllowed.
        """
        until = time.monotonic() + WAIT
        lock, users = self._here.get(key, (asyncio.Lock(), 0))
        self._here[key] = (lock, users + 1)
        try:
            try:
                async with asyncio.timeout(WAIT):
                    await lock.acquire()
            except TimeoutError:
                raise _busy(key) from None
            try:
                far = await self._acquire(key, until)
                try:
                    yield
                finally:
                    if far:
                        await self._release(key)
            finally:
                lock.release()
        finally:
            lock, users = self._here.pop(key)
            if users > 1:
                self._here[key] = (lock, users - 1)

    async def _acquire(self, key: str, until: float) -> bool:
        pause = 0.02
        while time.monotonic() < until:
            try:
                told = await self._operate(key, "ACQUIRE")
            except BadRequest as error:  # a Nacos without locks: writers of this process still take turns
                log.debug("nacos has no locks: %s", error)
                return False
            if told.get("result"):
                return True
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.2)
        raise _busy(key)

    async def _release(self, key: str) -> None:
        try:
            await self._operate(key, "RELEASE")
        except ParleyError as error:
            log.debug("the lock %s stays until it expires: %s", key, error)

    async def _operate(self, key: str, operation: str) -> dict[str, Any]:
        instance = {"key": key, "expiredTime": int(HOLD * 1000), "lockType": "NACOS_LOCK"}
        return await self._connection.call(
            "LockOperationRequest", {"lockInstance": instance, "lockOperationEnum": operation}
        )


def _busy(key: str) -> RegistryBusy:
    return RegistryBusy(f"others have been writing {key} for {WAIT:g} s; try again later")
