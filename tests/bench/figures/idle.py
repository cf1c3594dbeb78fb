"""Memory of an idle event stream: SubscribeToTask on tasks that say nothing."""

import asyncio
import statistics

from client import CallFailed, Connection, message, request
from scale import Scale
from servers import SIDES, Server, running
from table import Row

_TASKS = 25
_GOAL = 12.0


async def _subscribe(server: Server, tasks: list[str], streams: int) -> list[Connection]:
    opened: list[Connection] = []
    first = [asyncio.get_running_loop().create_future() for _ in range(streams)]
    ended: list[BaseException | None] = []

    def gone(listening: asyncio.Future[None]) -> None:
        ended.append(None if listening.cancelled() else listening.exception())

    def heard(n: int) -> None:
        if not first[n].done():
            first[n].set_result(None)

    for n in range(streams):
        connection = await Connection.open(server.port)
        body = request("SubscribeToTask", {"id": tasks[n % len(tasks)]})
        listening = asyncio.ensure_future(connection.stream(body, lambda _, n=n: heard(n)))  # type: ignore[misc]
        listening.add_done_callback(gone)
        opened.append(connection)
        if n % 50 == 49:
            await asyncio.wait_for(asyncio.gather(*first[: n + 1]), 30)
    await asyncio.wait_for(asyncio.gather(*first), 30)
    await asyncio.sleep(1.0)
    if ended:
        raise CallFailed(f"{len(ended)} streams ended although nothing had happened: {ended[0]}")
    return opened


async def _kilobytes(side: str, streams: int) -> float:
    async with running(side) as server:
        starter = await Connection.open(server.port)
        tasks = []
        for _ in range(min(_TASKS, streams)):
            task = await starter.call("SendMessage", message("hold", returnImmediately=True))
            tasks.append(task["task"]["id"])
        warm = await _subscribe(server, tasks, 50)
        before = server.rss
        opened = await _subscribe(server, tasks, streams)
        grown = server.rss - before
        for connection in (*warm, *opened, starter):
            connection.close()
        return grown / streams / 1024


async def measure(scale: Scale) -> list[Row]:
    """Kilobytes a stream."""
    got: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(scale.repeats):
        for side in SIDES:
            got[side].append(await _kilobytes(side, scale.idle))
    parley, sdk = (statistics.median(got[side]) for side in SIDES)
    ratio = f"{parley / sdk:.2f}×" if sdk > 0 else "–"
    return [
        Row(
            "idle event stream",
            f"≤ {_GOAL:g} KB",
            f"{parley:.1f} KB",
            f"{sdk:.1f} KB",
            ratio,
            parley <= _GOAL,
        )
    ]
