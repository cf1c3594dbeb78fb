"""Very many streams of small chunks at once, and what more workers bring."""

import asyncio

from client import CallFailed, Connection, message, request
from scale import Scale
from servers import Server
from table import Row

from cluster.deployment import SIDES, WORKER, Deployment, deployed
from cluster.postgres import Postgres

_SIZE = 20
_WORKERS = (1, 2, 4)
_PATIENCE = 300


async def stream(deployment: Deployment, streams: int, chunks: int) -> float:
    """Chunks a second over all streams, from the first message to the last chunk."""
    connections = [await Connection.open(deployment.ports[n % len(deployment.ports)]) for n in range(streams)]
    heard = [0] * streams

    async def listen(n: int) -> None:
        def count(events: list[bytes]) -> None:
            heard[n] += sum(b'"artifactUpdate"' in event for event in events)

        await connections[n].stream(
            request("SendStreamingMessage", message(f"chunks {chunks} {_SIZE}")), count
        )

    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*map(listen, range(streams)))
    took = loop.time() - begun
    for connection in connections:
        connection.close()
    if heard != [chunks] * streams:
        raise CallFailed(f"{chunks} chunks were sent, {sorted(set(heard))} were heard")
    return chunks * streams / took


async def measure(scale: Scale, postgres: Postgres) -> list[Row]:
    """Chunks a second and CPU a chunk, by workers."""
    rows = []
    room = {"concurrency": str(scale.token_streams)}
    async with deployed(postgres, "parley", workers=0, **room) as deployment:
        base = 0.0
        for workers in _WORKERS:
            while len(deployment.workers) < workers:
                await deployment.add(WORKER)
            await stream(deployment, min(64, scale.token_streams), scale.token_chunks)
            front, work = _cpu(deployment.fronts), _cpu(deployment.workers)
            database = postgres.cpu
            rate = await stream(deployment, scale.token_streams, scale.token_chunks)
            total = scale.token_streams * scale.token_chunks
            front, work = _cpu(deployment.fronts) - front, _cpu(deployment.workers) - work
            database = postgres.cpu - database
            base = base or rate
            each = " + ".join(f"{x / total * 1e6:.0f}" for x in (front, work, database))
            name = f"small chunks, {scale.token_streams:,} streams, {workers} worker{'s' * (workers > 1)}"
            rows.append(Row(name, "", f"{rate:,.0f} /s ({rate / base:.2f}× of one worker)"))
            rows.append(Row("· CPU a chunk, front + workers + PostgreSQL", "", f"{each} µs"))
    async with deployed(postgres, SIDES[1]) as theirs:
        await stream(theirs, 2, 5)
        cpu, database = theirs.cpu, postgres.cpu
        rate = await stream(theirs, scale.sdk_token_streams, scale.sdk_token_chunks)
        total = scale.sdk_token_streams * scale.sdk_token_chunks
        each = f"{(theirs.cpu - cpu) / total * 1e6:,.0f} + {(postgres.cpu - database) / total * 1e6:,.0f} µs"
    rows.append(
        Row(
            f"· theirs, {scale.sdk_token_streams} streams, 2 replicas; CPU a chunk, replicas + PostgreSQL",
            "",
            "",
            f"{rate:,.0f} /s; {each}",
        )
    )
    return rows


def _cpu(servers: list[Server]) -> float:
    return sum(server.cpu for server in servers)
