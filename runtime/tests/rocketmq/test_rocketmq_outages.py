"""RocketMQ comes and goes under queue and bus: nobody waits for long, nothing is lost, and it is taken up again."""

import asyncio
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.rocketmq import RocketMQ
from parley_runtime.bus import Wake
from parley_runtime.engines import Engines, engines_for
from parley_runtime.settings import HostSettings
from parley_runtime.store import LoggedEvent

sys.path.insert(0, str(Path(__file__).parents[1]))
from engine_pairs import VERSION, pair, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

PATIENCE = 8.0
"""Seconds within which what is said while RocketMQ goes must be heard (about two on a machine with nothing else to do)."""


class Faults:
    """What happens to a cluster, and how it is undone."""

    def __init__(self, server: RocketMQ) -> None:
        self._server = server

    async def each(self) -> "list[tuple[str, Callable[[], None], Callable[[], None]]]":
        s = self._server
        return [
            ("proxy killed", lambda: s.kill("proxy"), lambda: s.start("proxy")),
            ("broker killed", lambda: s.kill("broker"), lambda: s.start("broker")),
            ("broker frozen", lambda: s.pause("broker"), lambda: s.resume("broker")),
            ("proxy frozen", lambda: s.pause("proxy"), lambda: s.resume("proxy")),
        ]


class Talk:
    """A task that says something many times a second, and a reader of it in another process."""

    def __init__(self, back: Engines, front: Engines) -> None:
        self._back = back
        self._ear = front.bus.subscribe("t1", "c")
        self._said = 0
        self._heard = 0
        self._at: dict[int, float] = {}
        self.slowest = 0.0
        self._tasks = [asyncio.create_task(self._say()), asyncio.create_task(self._hear())]

    async def _say(self) -> None:
        while True:
            self._said += 1
            self._at[self._said] = time.monotonic()
            event = LoggedEvent(self._said, b"{}", 2, time.time(), 1)
            self._back.bus.publish("t1", "c", Wake([event]))
            await asyncio.sleep(0.03)

    async def _hear(self) -> None:
        """As a reader does: what is told counts, and "look in the store" finds all that was committed."""
        while True:
            wake = await self._ear.next(1.0)
            if wake is None:
                continue
            new = [e.generation for e in wake.events if e.generation > self._heard]
            upto = (
                self._said if not wake.events or (new and new[0] > self._heard + 1) else max(new, default=0)
            )
            for generation in range(self._heard + 1, upto + 1):
                self.slowest = max(self.slowest, time.monotonic() - self._at.pop(generation))
            self._heard = max(self._heard, upto)

    async def caught_up(self, within: float) -> None:
        """Return when all that has been said by now is heard."""
        said = self._said
        await until(lambda: self._heard >= said, within)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._ear.close()


class Worker:
    """Looks whenever it is woken, and finds nothing."""

    def __init__(self, engines: Engines) -> None:
        self.woken = 0
        self._queue = engines.queue
        engines.queue.attend(self._wake, lambda: 64)

    def _wake(self) -> None:
        self.woken += 1
        asyncio.get_running_loop().call_soon(self._queue.nothing)


async def both_away(engines: Engines) -> None:
    """Announce until queue and bus have seen that RocketMQ is away (what was under way may still have arrived)."""
    deadline = time.monotonic() + 20
    while engines.status().keys() != {"queue", "bus"}:
        assert time.monotonic() < deadline, engines.status()
        engines.queue.announce(VERSION)
        await asyncio.sleep(0.1)


async def test_queue_and_bus_go_on_through_outages_and_come_back_by_themselves(
    own_rocketmq: Callable[..., RocketMQ], postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await asyncio.to_thread(own_rocketmq)
    settings = HostSettings(store=postgres_dsn, queue=server.url, bus=server.url)
    async with pair(settings, f"o{uuid.uuid4().hex[:8]}") as (back, front):
        worker, talk = Worker(back), Talk(back, front)
        await talk.caught_up(within=20)
        for name, harm, undo in await Faults(server).each():
            await asyncio.sleep(6.0)  # for so long after an outage the store is told too
            caplog.clear()
            talk.slowest = 0.0
            worker.woken = 0
            await asyncio.to_thread(harm)
            front.queue.announce(VERSION)
            await until(lambda: worker.woken, within=PATIENCE)
            await talk.caught_up(within=PATIENCE)
            await both_away(front)
            await talk.caught_up(within=PATIENCE)
            assert talk.slowest < PATIENCE, name
            print(f"{name}: the slowest event took {talk.slowest:.2f} s")
            await asyncio.to_thread(undo)
            await until(lambda: not front.status() and not back.status(), within=90)
            await talk.caught_up(within=PATIENCE)
            front.queue.nudge()
            worker.woken = 0
            front.queue.announce(VERSION)
            await until(lambda: worker.woken, within=PATIENCE)
            said = [r.message for r in caplog.records if "goes on without RocketMQ" in r.message]
            assert 2 <= len(said) <= 12, said
        await talk.end()


async def test_a_front_that_cannot_reach_rocketmq_hears_what_others_tell_it_through_the_store(
    rocketmq: RocketMQ, postgres_dsn: str
) -> None:
    agent = f"d{uuid.uuid4().hex[:8]}"
    back = engines_for(HostSettings(store=postgres_dsn, bus=rocketmq.url), agent, VERSION, "back")
    nowhere = "rocketmq://127.0.0.1:1?namesrv=127.0.0.1:1"
    front = engines_for(HostSettings(store=postgres_dsn, bus=nowhere), agent, VERSION, "front")
    for one in (back, front):
        await one.open()
    await until(lambda: not back.status(), within=30)
    assert "RocketMQ" in front.status()["bus"]
    talk = Talk(back, front)
    await asyncio.sleep(6.0)
    assert back.status() == {}, "for the others all is well"
    talk.slowest = 0.0
    await asyncio.sleep(3.0)
    await talk.caught_up(within=PATIENCE)
    assert talk.slowest < PATIENCE
    await talk.end()
    for one in (front, back):
        await one.close()


class Wire:
    """Fault injection: a relay before the proxy that can be cut, so that nothing passes and nobody is told."""

    def __init__(self, behind: str) -> None:
        self._host, _, port = behind.rpartition(":")
        self._port = int(port)
        self._passes = asyncio.Event()
        self._passes.set()
        self._pumps: list[asyncio.Task[None]] = []

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"127.0.0.1:{port}"

    def cut(self) -> None:
        """Connections that exist never pass anything again; new ones do after `mend`."""
        self._passes.clear()
        for pump in self._pumps:
            pump.cancel()

    def mend(self) -> None:
        self._passes.set()

    async def close(self) -> None:
        self.cut()
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pumps.append(asyncio.create_task(self._relay(reader, writer)))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passes.wait()
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(reader, far_writer))
            group.create_task(self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


async def test_a_network_that_was_cut_is_survived_although_nobody_closed_the_connections(
    rocketmq: RocketMQ, postgres_dsn: str
) -> None:
    wire = Wire(rocketmq.proxy)
    url = f"rocketmq://{await wire.open()}?namesrv={rocketmq.namesrv}"
    settings = HostSettings(store=postgres_dsn, queue=url, bus=url)
    async with pair(settings, f"n{uuid.uuid4().hex[:8]}") as (back, front):
        worker, talk = Worker(back), Talk(back, front)
        await talk.caught_up(within=20)
        await asyncio.sleep(6.0)
        talk.slowest = 0.0
        wire.cut()
        worker.woken = 0
        front.queue.announce(VERSION)
        await until(lambda: worker.woken, within=PATIENCE)
        await until(lambda: "bus" in front.status() and "bus" in back.status(), within=20)
        await asyncio.sleep(8.0)
        await talk.caught_up(within=PATIENCE)
        assert talk.slowest < PATIENCE
        print(f"cut: the slowest event took {talk.slowest:.2f} s")
        wire.mend()
        began = time.monotonic()
        await until(lambda: not front.status() and not back.status(), within=60)
        print(f"mended: well again after {time.monotonic() - began:.1f} s")
        await talk.caught_up(within=PATIENCE)
        await talk.end()
    await wire.close()


async def test_engines_open_at_once_when_there_is_no_rocketmq(postgres_dsn: str) -> None:
    nowhere = "rocketmq://127.0.0.1:1?namesrv=127.0.0.1:1"
    settings = HostSettings(store=postgres_dsn, queue=nowhere, bus=nowhere)
    engines = engines_for(settings, "agent", VERSION, "h")
    began = time.monotonic()
    await engines.open()
    worker = Worker(engines)
    engines.queue.announce(VERSION)
    await until(lambda: worker.woken)
    await asyncio.sleep(1.0)
    assert engines.status().keys() == {"queue", "bus"}
    await engines.close()
    assert time.monotonic() - began < 60
