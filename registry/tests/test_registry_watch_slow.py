"""Watchers that read slowly, or not at all: they cost little, harm nobody, and are let go."""

import asyncio
import re
import socket
import time
from pathlib import Path

import psutil
import pytest
from record_backend import publish
from registry_service import RegistryProcess

from parley_registry.backends.sql import SqlRecord
from parley_registry.entry import Key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SLOW, QUICK, ROUNDS, EACH = 100, 10, 30, 400
MIB = 1024 * 1024
ASK = b"GET /v1/watch?after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def slow(port: int) -> socket.socket:
    """A watcher that asks, and reads nothing; what the kernel holds for it is little."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", port))
    one.sendall(ASK)
    return one


async def quick(port: int, last: int) -> tuple[float, int]:
    """A watcher that reads until change number `last`; when it had it, and how many numbers it missed or saw twice."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(ASK)
    seen, faults, rest = 0, 0, b""
    while seen < last:
        whole, _, rest = (rest + await reader.read(1 << 18)).rpartition(b"\n\n")
        for number in map(int, re.findall(rb"^id: (\d+)$", whole, re.MULTILINE)):
            faults += number not in (seen + 1, 0)
            seen = number
    writer.close()
    return time.monotonic(), faults


async def test_many_that_read_nothing_harm_nobody_and_are_let_go(tmp_path: Path) -> None:
    record = SqlRecord(f"sqlite:///{tmp_path}/r.db", keep=100_000)
    await record.open()
    for number in range(4):
        await publish(record, f"agent-{number}", namespace="public")
    keys = [Key("public", f"agent-{number % 4}", "1.0.0") for number in range(EACH)]
    with RegistryProcess(tmp_path / "r.db") as process:
        service = psutil.Process(process._process.pid)
        stuck = [slow(process.port) for _ in range(SLOW)]
        last = await record.last_change() + ROUNDS * EACH
        watching = [asyncio.create_task(quick(process.port, last)) for _ in range(QUICK)]
        await asyncio.sleep(1.0)
        before = service.memory_info().rss
        for _ in range(ROUNDS):
            await record.retell(keys)
            await asyncio.sleep(0.05)
        told = time.monotonic()
        async with asyncio.timeout(60):
            ended = await asyncio.gather(*watching)
        grown = (service.memory_info().rss - before) / MIB
        print(
            f"{SLOW} slow watchers: {grown:.0f} MiB more; the last quick one {max(at for at, _ in ended) - told:.1f} s after"
        )
        assert [faults for _, faults in ended] == [0] * QUICK
        assert max(at for at, _ in ended) - told < 10.0
        assert grown < 80, f"{grown:.0f} MiB for {SLOW} watchers that read nothing"

        deadline = time.monotonic() + 90
        while len(service.net_connections("tcp")) > SLOW // 2:
            assert time.monotonic() < deadline, "watchers that take nothing for 30 s are let go"
            await asyncio.sleep(0.5)
        for one in stuck:
            one.close()
    await record.close()
