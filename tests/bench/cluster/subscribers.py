"""Very many subscribers of one task on one front: what an idle one holds, how soon one event is with all of them, and
what readers that stop reading do to the others."""

import asyncio
import contextlib
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from client import CallFailed, Connection, message, request
from scale import Scale
from servers import Server
from table import Row

from cluster.deployment import deployed
from cluster.postgres import Postgres

_CROWD = Path(__file__).with_name("crowd.py")
_KILOBYTES, _P99 = 12.0, 250.0
_STAMPS, _RATE = 5, 0.5
_OPEN = 180.0
_SETTLE = 2.0
_STALLED_GOAL = 1.25
"""1.0× within what such a short time is measured to."""
_READERS, _STALLED, _CHUNK = 40, 10, 4000
_GROWN = 64.0
"""Megabytes that stalled readers may cost a front, whatever is sent meanwhile."""


class Crowd:
    """Subscribers in a process of their own (see crowd.py)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self, seconds: float) -> str:
        """What it says next. Raises CallFailed when it has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            said = (await self._process.stdout.readline()).decode().strip()
        if not said:
            raise CallFailed("the crowd of subscribers has ended; its errors are above")
        return said


@contextlib.asynccontextmanager
async def crowd(port: int, task: str, streams: int, stalled: int = 0) -> AsyncIterator[Crowd]:
    """Subscribers of a task, all of whom have had their first event."""
    arguments = [sys.executable, str(_CROWD), str(port), task, str(streams), str(stalled)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
    )
    try:
        made = Crowd(process)
        await made.line(_OPEN)
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _begin(server: Server, text: str, **ids: str) -> tuple[str, str]:
    """Have a task do something and return at once (parking: when it is parked); its id and its context's."""
    sent = message(text, returnImmediately=text != "park")
    sent["message"] |= ids
    connection = await Connection.open(server.port)
    async with asyncio.timeout(60):
        task = (await connection.call("SendMessage", sent))["task"]
    connection.close()
    return task["id"], task["contextId"]


async def _crowded(
    front: Server, sender: Server, streams: int, *, ticking: bool = False
) -> tuple[float, list[float]]:
    """Kilobytes an idle subscriber, and the 99th percentile in milliseconds of each event to all.

    The task waits for its user until all have subscribed; or, `ticking`, it has its event every two seconds all the
    time: the SDK ends a stream on another replica when a task that waited goes on.
    """
    stamps = f"stamps {_STAMPS * 100 if ticking else _STAMPS} {_RATE}"
    task, context = await _begin(sender, stamps if ticking else "park")
    async with crowd(front.port, task, min(50, streams)):
        await asyncio.sleep(_SETTLE)
        before = front.rss
        async with crowd(front.port, task, streams) as many:
            await asyncio.sleep(_SETTLE)
            grown = front.rss - before
            if not ticking:
                await _begin(sender, stamps, taskId=task, contextId=context)
            lags = [float((await many.line(60)).split()[1]) for _ in range(_STAMPS)]
    return grown / streams / 1024, lags


async def _seconds(front: Server, chunks: int, stalled: int) -> float:
    """Until all who read have had a task of so many chunks, with or without some who do not read."""
    task, context = await _begin(front, "park")
    readers = [await Connection.open(front.port) for _ in range(_READERS)]
    heard = [0] * _READERS

    async def listen(n: int) -> None:
        def count(events: list[bytes]) -> None:
            heard[n] += sum(b'"artifactUpdate"' in event for event in events)

        await readers[n].stream(request("SubscribeToTask", {"id": task}), count)

    async with contextlib.AsyncExitStack() as stack:
        if stalled:
            await stack.enter_async_context(crowd(front.port, task, stalled, stalled))
        listening = [asyncio.create_task(listen(n)) for n in range(_READERS)]
        await asyncio.sleep(0.5)
        begun = time.perf_counter()
        await _begin(front, f"chunks {chunks} {_CHUNK}", taskId=task, contextId=context)
        async with asyncio.timeout(120):
            await asyncio.gather(*listening)
        took = time.perf_counter() - begun
    for reader in readers:
        reader.close()
    if heard != [chunks] * _READERS:
        raise CallFailed(f"{chunks} chunks were sent, {sorted(set(heard))} were heard")
    return took


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """Memory, one event to all, and stalled readers."""
    async with deployed(postgres, "parley") as ours:
        front = ours.fronts[0]
        kilobytes, lags = await _crowded(front, front, scale.crowd)
        await _seconds(front, scale.stalled_chunks, 0)
        without, stalled, grown = [], [], []
        for _ in range(scale.repeats):
            without.append(await _seconds(front, scale.stalled_chunks, 0))
            before = front.rss
            stalled.append(await _seconds(front, scale.stalled_chunks, _STALLED))
            grown.append((front.rss - before) / 1e6)
    async with deployed(postgres, "sdk") as theirs:
        door, other = theirs.fronts
        sdk_kilobytes, sdk_lags = await _crowded(other, door, scale.sdk_crowd, ticking=True)
    ratio = statistics.median(stalled) / statistics.median(without)
    sent = scale.stalled_chunks * _CHUNK / 1e6
    return [
        Row(
            f"idle subscriber, {scale.crowd:,} on one front",
            f"≤ {_KILOBYTES:g} KB",
            f"{kilobytes:.1f} KB",
            f"{sdk_kilobytes:.1f} KB ({scale.sdk_crowd:,} on one replica)",
            f"{kilobytes / sdk_kilobytes:.2f}×" if sdk_kilobytes > 0 else "–",
            kilobytes <= _KILOBYTES,
        ),
        Row(
            "· one event to all of them, p99 (worst of 5 events)",
            f"≤ {_P99:g} ms",
            f"{statistics.median(lags):.0f} ({max(lags):.0f}) ms",
            f"{statistics.median(sdk_lags):.0f} ({max(sdk_lags):.0f}) ms",
            met=statistics.median(lags) <= _P99,
        ),
        Row(
            f"time of {_READERS} readers beside {_STALLED} that do not read, against without",
            "1.0×",
            f"{ratio:.2f}× ({sent:.0f} MB a reader)",
            met=ratio <= _STALLED_GOAL,
        ),
        Row(
            "· memory that the front gains by it",
            f"≤ {_GROWN:g} MB",
            f"{statistics.median(grown):.0f} MB",
            met=statistics.median(grown) <= _GROWN,
        ),
    ]
