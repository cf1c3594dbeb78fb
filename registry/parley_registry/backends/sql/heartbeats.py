"""Heartbeats, which come from every host every two seconds: whatever is pending when the last statement returns goes
with the next."""

import asyncio
import contextlib
from collections import defaultdict

from sqlalchemy import Connection

from parley_registry.backends.sql import statements as sql
from parley_registry.backends.sql.database import Database
from parley_registry.entry import Key

_Beat = tuple[str, str, str, str]
_MOST = 500


class Heartbeats:
    """Notes heartbeats, many in one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[_Beat, list[asyncio.Future[bool]]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None

    async def beat(self, key: Key, instance_id: str) -> bool:
        """See `Record.heartbeat`."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending[(*key, instance_id)].append(future)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="registry-heartbeats")
        return await future

    async def close(self) -> None:
        """Finish what is pending."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while self._pending:
            some = dict(list(self._pending.items())[:_MOST])
            for beat in some:
                del self._pending[beat]
            beats = sorted(some)

            def work(db: Connection, now: float, beats: list[_Beat] = beats) -> set[_Beat]:
                return {tuple(row) for row in db.execute(sql.HEARTBEATS, {"now": now, "beats": beats})}  # type: ignore[misc]

            try:
                known = await self._database.beat(work)
            except BaseException as error:  # handed to whoever waits, then on
                for futures in some.values():
                    for future in futures:
                        if not future.done():
                            future.set_exception(error) if isinstance(error, Exception) else future.cancel()
                if not isinstance(error, Exception):
                    raise
                continue
            for beat, futures in some.items():
                for future in futures:
                    if not future.done():
                        future.set_result(beat in known)
