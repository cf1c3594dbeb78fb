"""Small chunks streamed a second: SendStreamingMessage, 20 bytes of text a chunk."""

import asyncio
import statistics
import time

from client import CallFailed, Connection, message, request
from scale import Scale
from servers import SIDES, Server, running
from table import Row, at_least

_SIZE = 20


async def stream(server: Server, streams: int, chunks: int) -> tuple[float, float]:
    """Chunks a second over all streams, and µs of the server's CPU a chunk."""
    connections = [await Connection.open(server.port) for _ in range(streams)]
    heard = [0] * streams

    async def listen(n: int) -> None:
        def count(events: list[bytes]) -> None:
            heard[n] += sum(b'"artifactUpdate"' in event for event in events)

        await connections[n].stream(
            request("SendStreamingMessage", message(f"chunks {chunks} {_SIZE}")), count
        )

    cpu, begun = server.cpu, time.perf_counter()
    await asyncio.gather(*map(listen, range(streams)))
    took = time.perf_counter() - begun
    if heard != [chunks] * streams:
        raise CallFailed(f"{chunks} chunks were sent, {heard} were heard")
    for connection in connections:
        connection.close()
    total = chunks * streams
    return total / took, (server.cpu - cpu) / total * 1e6


async def measure(scale: Scale) -> list[Row]:
    """Chunks a second with one and with eight streams."""
    rows = []
    for streams, chunks in ((1, scale.chunks), (8, scale.chunks // 2)):
        got: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
        for _ in range(scale.repeats):
            for side in SIDES:
                async with running(side) as server:
                    await stream(server, streams, chunks // 10)
                    got[side].append(await stream(server, streams, chunks))
        parley, sdk = (statistics.median(rate for rate, _ in got[side]) for side in SIDES)
        ours, theirs = (statistics.median(cpu for _, cpu in got[side]) for side in SIDES)
        name = "1 stream" if streams == 1 else f"{streams} streams"
        rows.append(at_least(f"small chunks, {name}", 3.0, parley, sdk, "/s"))
        rows.append(
            Row(f"· CPU a chunk, {name}", "", f"{ours:.0f} µs", f"{theirs:.0f} µs", f"{ours / theirs:.2f}×")
        )
    return rows
