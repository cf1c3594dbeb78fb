"""A thousand receivers, half of them slow, some dead, over three senders in three processes, one of which is killed."""

import asyncio
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from a2a.types import a2a_pb2 as pb

pytestmark = pytest.mark.slow

QUICK, SLOW, DEAD = 500, 500, 20
SENDERS = 3
DEAD_BACKLOG = 40
"""Notifications that wait for each dead receiver from the beginning."""


@dataclass
class Crowd:
    """Receivers, each on a port of its own. The delay of a notification is from before its event's commit."""

    urls: dict[str, str] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    seen: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    arrivals: list[tuple[str, float, float]] = field(default_factory=list)
    """(kind, when it arrived, its delay)"""
    waiting: int = 0
    at_once: list[int] = field(default_factory=list)
    """Slow requests under way when each of them came."""

    async def serve(self, task_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
                body = orjson.loads(await reader.readexactly(int(headers["content-length"])))
                now = time.time()
                self.seen[task_id].append(int(headers["idempotency-key"].rpartition("/")[2]))
                self.arrivals.append((task_id.partition("-")[0], now, now - body["statusUpdate"]["at"]))
                if self.waits[task_id]:
                    self.waiting += 1
                    self.at_once.append(self.waiting)
                    await asyncio.sleep(self.waits[task_id])
                    self.waiting -= 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    def delays(self, kind: str, since: float, until: float) -> list[float]:
        return sorted(delay for k, at, delay in self.arrivals if k == kind and since <= at < until)


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    crowd = Crowd()
    chance = random.Random(4)
    async with AsyncExitStack() as servers:
        for kind, count in (("quick", QUICK), ("slow", SLOW), ("dead", DEAD)):
            for n in range(count):
                name = f"{kind}-{n}"
                crowd.waits[name] = chance.uniform(1.0, 5.0) if kind == "slow" else 0.0

                def serve(r: Any, w: Any, name: str = name) -> Any:
                    return crowd.serve(name, r, w)

                server = await asyncio.start_server(serve, "127.0.0.1", 0)
                crowd.urls[name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
                if kind == "dead":
                    server.close()
                else:
                    servers.push_async_callback(_closed, server)
        yield crowd


async def _closed(server: asyncio.Server) -> None:
    server.close()


@asynccontextmanager
async def emitting(address: str) -> AsyncIterator[asyncio.subprocess.Process]:
    program = Path(__file__).with_name("emitting_sender.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        address,
        env={**os.environ, "PYTHONPATH": str(program.parent)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def tell(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")


def share(process: int, *kinds: str) -> str:
    """The tasks of these kinds that a process appends to, in turn of each kind."""
    per_kind = [[f"{kind}-{n}" for n in range(process, QUICK, SENDERS)] for kind in kinds]
    return ",".join(name for names in zip(*per_kind, strict=True) for name in names)


def at(share: float, delays: list[float]) -> float:
    return delays[int(share * (len(delays) - 1))]


@pytest.mark.parametrize("address", ["postgres"], indirect=True)
async def test_slow_and_dead_receivers_and_a_killed_sender_harm_no_other(
    task: Any, own: Any, address: str, crowd: Crowd
) -> None:
    names = list(crowd.urls)
    pushed: dict[str, Any] = {}
    for page in range(0, len(names), 50):
        made = [_made(task, name, crowd.urls[name]) for name in names[page : page + 50]]
        pushed.update(zip(names[page : page + 50], await asyncio.gather(*made), strict=True))
    async with AsyncExitStack() as processes:
        senders = [await processes.enter_async_context(emitting(address)) for _ in range(SENDERS)]
        begun = time.time()
        for n, sender in enumerate(senders):
            tell(sender, share(n, "quick"))
        await asyncio.sleep(12)
        alone = crowd.delays("quick", begun + 2, time.time())

        for n in range(DEAD):
            await pushed[f"dead-{n}"].emit(DEAD_BACKLOG)
        begun = time.time()
        for n, sender in enumerate(senders):
            tell(sender, share(n, "quick", "slow"))
        await asyncio.sleep(20)
        crowded = crowd.delays("quick", begun + 5, time.time())
        assert max(crowd.at_once) > SENDERS * 12, "the slow ones take all the places that they may"

        senders[0].kill()
        begun = time.time()
        await asyncio.sleep(3)
        for sender in senders[1:]:
            tell(sender, "")
        deadline = time.monotonic() + 120
        while (state := await own.outbox.state()).pending > DEAD * DEAD_BACKLOG:
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.5)
        killed = crowd.delays("quick", begun, time.time())

    for name, delays in (("alone", alone), ("crowded", crowded), ("one killed", killed)):
        quantiles = [f"{at(share, delays) * 1000:.0f}" for share in (0.5, 0.9, 0.99, 1.0)]
        print(f"{name}: {len(delays)} to quick receivers, p50/p90/p99/max ms {'/'.join(quantiles)}")
    for name in (name for name in names if not name.startswith("dead")):
        stored = await own.store.load(name)
        assert stored is not None
        firsts = list(dict.fromkeys(crowd.seen[name]))
        assert firsts == list(range(1, stored.generation + 1)), (
            f"{name}: nothing is lost, and the order holds"
        )
    assert all(not crowd.seen[f"dead-{n}"] for n in range(DEAD))
    assert at(0.99, crowded) < 2 * at(0.99, alone) + 0.5


async def _made(task: Any, name: str, url: str) -> Any:
    return await task(pb.TaskPushNotificationConfig(id="c", url=url), name=name)
