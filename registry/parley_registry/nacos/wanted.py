"""What is to be so at the server: done again after each connection, and tried again until it is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from parley_core.errors import ParleyError
from parley_registry.nacos.connection import NacosConnection

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

_AT_ONCE = 32
_PAUSES = (0.2, 0.5, 1.0, 2.0)


class Wanted(Generic[K]):
    """Keys of which each has to be brought about at the server by `settle(keys)`, which may raise for all of them.

    `all_keys` says what there is when a new connection begins, and every `resync` seconds to put right what a
    lost push has left wrong.
    """

    def __init__(
        self,
        connection: NacosConnection,
        name: str,
        settle: Callable[[list[K]], Awaitable[None]],
        all_keys: Callable[[], list[K]],
        *,
        batch: int = 1,
        resync: float,
    ) -> None:
        self._name = name
        self._settle = settle
        self._all_keys = all_keys
        self._batch = batch
        self._resync = resync
        self._open: dict[K, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        connection.on_live(self._again)

    def start(self) -> None:
        """Begin to settle what is told, until `close`."""
        self._task = asyncio.create_task(self._keep(), name=f"nacos-{self._name}")

    async def close(self) -> None:
        """Stop; nothing is undone at the server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def tell(self, *keys: K) -> None:
        """These are to be settled (again) as soon as can be."""
        self._open.update(dict.fromkeys(keys))
        self._wake.set()

    def _again(self) -> None:
        self.tell(*self._all_keys())

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                async with asyncio.timeout(self._resync):
                    await self._wake.wait()
            except TimeoutError:
                self._again()
            self._wake.clear()
            keys, self._open = list(self._open), {}
            failed = await self._round(keys)
            if failed:
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
                self.tell(*failed)
            else:
                failures = 0

    async def _round(self, keys: list[K]) -> list[K]:
        """Settle these, a few at a time; those for which it failed."""
        failed: list[K] = []
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(batch: list[K]) -> None:
            async with gate:
                try:
                    await self._settle(batch)
                except ParleyError as error:
                    log.debug("nacos %s: %s", self._name, error)
                    failed.extend(batch)
                except Exception:
                    log.exception("nacos %s failed by a fault of ours; it is tried again", self._name)
                    failed.extend(batch)

        async with asyncio.TaskGroup() as tasks:
            for start in range(0, len(keys), self._batch):
                tasks.create_task(one(keys[start : start + self._batch]))
        return failed
