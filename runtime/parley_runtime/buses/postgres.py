"""The bus of the small cluster: events travel in notifications, and a process hears only of tasks like those it reads.

A task belongs to one of a fixed number of channels; a process listens to those of the tasks that its readers follow,
and for a while after. The Task that a wake-up brings goes with it, so that who waits for the answer need not ask the
store. What is too large for a notification stays away: first the Task, then the events, which are only said to be there.
"""

import asyncio
import contextlib
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import orjson
from a2a.types import a2a_pb2 as pb

from parley_runtime.bus import Wake
from parley_runtime.buses.readers import Ear, Readers
from parley_runtime.store import LoggedEvent
from parley_runtime.stores.postgres.listener import LONGEST, Listener, Notifier

_CHANNELS = 64
_LINGER = 60.0
"""Seconds for which a channel that nobody reads any more is still listened to."""


class PostgresBus:
    """See `parley_runtime.bus.Bus`. Listener and notifier are opened and closed by whom they are shared with."""

    def __init__(self, listener: Listener, notifier: Notifier, key: str) -> None:
        self._listener = listener
        self._notifier = notifier
        self._names = [f"{key}_b{n}" for n in range(_CHANNELS)]
        self._readers = Readers(gone=self._gone)
        self._listening: dict[int, set[str]] = {}
        self._unread: dict[int, float] = {}
        self._pending: list[tuple[int, str, Wake]] = []
        self._tidying: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._tidying = asyncio.create_task(self._tidy(), name="bus:tidy")

    async def close(self) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tidying

    def publish(self, task_id: str, context_id: str, wake: Wake) -> None:
        self._readers.tell(task_id, wake)
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._send)
        self._pending.append((_channel(task_id), task_id, wake))

    def subscribe(self, task_id: str, context_id: str) -> Ear:
        number = _channel(task_id)
        ear = self._readers.add(task_id)
        reading = self._listening.setdefault(number, set())
        reading.add(task_id)
        self._unread.pop(number, None)
        # Until the channel is heard, nothing is: `_heard(None)` follows then.
        self._listener.on(self._names[number], lambda payload: self._heard(number, payload))
        return ear

    def status(self) -> str:
        return "" if self._listener.connected else "notifications are not heard; streams look into the store"

    def _send(self) -> None:
        pending, self._pending = self._pending, []
        payloads: dict[int, list[bytes]] = {}
        for number, task_id, wake in pending:
            payloads.setdefault(number, []).append(_packed(task_id, wake))
        for number, parts in payloads.items():
            self._notifier.tell(self._names[number], _joined(parts))

    def _heard(self, number: int, payload: str | None) -> None:
        if payload is None:
            for task_id in self._listening.get(number, ()):
                self._readers.tell(task_id, Wake())
            return
        for task_id, rows, *task in orjson.loads(payload):
            if task_id in self._readers:
                self._readers.tell(task_id, Wake([_event(row) for row in rows], *map(_task, task)))

    def _gone(self, task_id: str) -> None:
        number = _channel(task_id)
        reading = self._listening.get(number, set())
        reading.discard(task_id)
        if not reading:
            self._unread[number] = time.monotonic()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_LINGER / 4)
            long_ago = time.monotonic() - _LINGER
            for number in [n for n, since in self._unread.items() if since < long_ago]:
                del self._unread[number]
                self._listening.pop(number, None)
                self._listener.off(self._names[number])


def _channel(task_id: str) -> int:
    return zlib.crc32(task_id.encode()) % _CHANNELS


def _packed(task_id: str, wake: Wake) -> bytes:
    """As much of a wake-up as a notification carries."""
    # More than ASCII is longer in the notification than here only if the database is not UTF-8; it must be.
    rows = [[e.generation, e.state, e.at, e.work, e.body.decode()] for e in wake.events]
    if wake.task is not None:
        body = orjson.dumps([task_id, rows, b64encode(wake.task.SerializeToString()).decode()])
        if len(body) < LONGEST - 2:
            return body
    body = orjson.dumps([task_id, rows])
    return body if len(body) < LONGEST - 2 else orjson.dumps([task_id, []])


def _task(packed: str) -> pb.Task:
    return pb.Task.FromString(b64decode(packed))


def _event(row: Sequence[Any]) -> LoggedEvent:
    generation, state, at, work, body = row
    return LoggedEvent(generation, body.encode(), state, at, work)


def _joined(parts: Sequence[bytes]) -> list[str]:
    """As few notifications as carry all parts, in order."""
    out: list[str] = []
    held: list[bytes] = []
    length = 0
    for part in parts:
        if held and length + len(part) > LONGEST - 2:
            out.append(f"[{b','.join(held).decode()}]")
            held, length = [], 0
        held.append(part)
        length += len(part) + 1
    out.append(f"[{b','.join(held).decode()}]")
    return out
