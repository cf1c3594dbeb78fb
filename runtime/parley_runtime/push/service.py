"""Push notifications of one host: configurations, the outbox, and the sender that empties it."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_network

from a2a.types import a2a_pb2 as pb

from parley_core.urlguard import UrlGuard, UrlRefused
from parley_runtime.rules import invalid
from parley_runtime.stores.sqlite import SqliteStore


class PushService:
    """What the front and the host need of push."""

    def __init__(self, store: SqliteStore, allow: Sequence[str], *, give_up: float) -> None:
        self._store = store
        self._guard = UrlGuard([ip_network(a) for a in allow])
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()

    async def check(self, config: pb.TaskPushNotificationConfig) -> None:
        try:
            await self._guard.check(config.url)
        except UrlRefused as error:
            raise invalid("url", str(error)) from error
