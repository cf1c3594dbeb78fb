"""How the registry bears a cluster's load: hosts that publish and beat at once, changes, and watchers who miss nothing.

    python tests/bench/registry_load.py [--store sqlite|postgresql|nacos] [--hosts 200] [--watchers 1000] [--changes 100] [--seconds 20]

One service process. All hosts publish at once, then each beats every two seconds; meanwhile as many changes a second as told
(each the publish of an agent) are asked for, and every watcher has to see every change once and in order. Shown are how long
publishes and beats took, how many changes were made, how long after its acknowledgement a watcher saw a change, and how
busy the service was.
"""

import argparse
import asyncio
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "deploy"))

import orjson
from registry_corpus import Vocabulary, cards
from registry_search import Service

from engines.nacos import Nacos
from engines.postgres import Postgres

_ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)
_NAME = re.compile(rb'"name":"([^"]*)"')
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_BEAT = 2.0
_AT_ONCE = 64


class Watcher:
    """One open watch over a bare socket, as cheap as can be: what is measured is the service."""

    def __init__(self, port: int, *, timed: bool) -> None:
        self._port = port
        self._timed = timed
        self.first = self.last = -1
        self.faults = 0
        self.seen: dict[bytes, float] = {}

    async def run(self, opened: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        try:
            writer.write(b"GET /v1/watch HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            rest = b""
            while data := await reader.read(1 << 18):
                whole, _, rest = (rest + data).rpartition(b"\n\n")
                if whole:
                    self._take(whole + b"\n")
                if self.last >= 0:
                    opened.set()
        finally:
            writer.close()

    def _take(self, text: bytes) -> None:
        for number in map(int, _ID.findall(text)):
            if self.last < 0:
                self.first = number
            elif number != self.last + 1:
                self.faults += 1
            self.last = number
        if self._timed:
            now = time.perf_counter()
            self.seen.update((name, now) for name in _NAME.findall(text) if name not in self.seen)


class Caller:
    """One connection that makes one call after the other, over a bare socket too: 200 clients in one process would
    measure themselves."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of what a POST is answered with."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (path.encode(), len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        text = await reader.readexactly(int(length[1]) if length else 0)
        return int(head.split(b" ", 2)[1]), text

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


class Load:
    """One run against a service."""

    def __init__(self, service: Service, given: argparse.Namespace, namespace: str) -> None:
        self._service = service
        self._given = given
        self._namespace = namespace
        self._hosts = [Caller(service.port) for _ in range(given.hosts)]
        self._free: asyncio.Queue[Caller] = asyncio.Queue()
        for _ in range(_AT_ONCE):
            self._free.put_nowait(Caller(service.port))
        self._beats: list[float] = []
        self._refused = 0
        self._again = 0

    async def run(self, corpus: Iterator[dict[str, Any]]) -> int:
        """Exit status 0 when nothing was missed."""
        given = self._given
        hosts = [next(corpus) | {"name": f"host-{number}"} for number in range(given.hosts)]
        changing = [
            next(corpus) | {"name": f"change-{number}"} for number in range(given.changes * given.seconds)
        ]
        watchers = [Watcher(self._service.port, timed=number < 5) for number in range(given.watchers)]
        async with asyncio.TaskGroup() as tasks:
            opened = [asyncio.Event() for _ in watchers]
            watching = [
                tasks.create_task(one.run(event)) for one, event in zip(watchers, opened, strict=True)
            ]
            for event in opened:
                await event.wait()
            began = time.perf_counter()
            published = [asyncio.get_running_loop().create_future() for _ in hosts]
            beating = [
                tasks.create_task(self._host(*one, number))
                for number, one in enumerate(zip(self._hosts, hosts, published, strict=True))
            ]
            took = await asyncio.gather(*published)
            print(
                f"{len(hosts)} hosts published at once in {time.perf_counter() - began:.1f} s; {_times(took)}"
            )
            worked, began = self._service.worked_ms(), time.perf_counter()
            acknowledged: dict[bytes, float] = {}
            took = await self._change(changing, acknowledged)
            seconds = time.perf_counter() - began
            busy = (self._service.worked_ms() - worked) / seconds / 10
            print(
                f"{len(changing)} changes in {seconds:.1f} s: {len(changing) / seconds:.0f}/s; {_times(took)}"
            )
            print(f"{len(self._beats)} beats meanwhile, {self._refused} refused; {_times(self._beats)}")
            print(f"{self._again} publishes were answered with 503 and made again")
            print(
                f"the service was busy {busy:.0f} % of a processor, {self._service.resident_mb()} MB resident"
            )
            await self._all_seen(watchers)
            for task in (*beating, *watching):
                task.cancel()
        late = [
            one.seen[name] - at for one in watchers for name, at in acknowledged.items() if name in one.seen
        ]
        missed = sum(one.faults for one in watchers)
        ends = {(one.first, one.last) for one in watchers}
        print(f"watchers saw a change after its acknowledgement: {_times(late)}")
        print(f"{len(watchers)} watchers saw changes {sorted(ends)}: {missed} gaps or repeats")
        for caller in (*self._hosts, *(self._free.get_nowait() for _ in range(_AT_ONCE))):
            caller.close()
        return 1 if missed or len(ends) != 1 else 0

    async def _all_seen(self, watchers: list[Watcher]) -> None:
        """Wait until all have seen the same, or for half a minute."""
        until = time.perf_counter() + 30
        while time.perf_counter() < until:
            before = max(one.last for one in watchers)
            await asyncio.sleep(1.0)
            if {one.last for one in watchers} == {before}:
                return

    async def _publish(self, caller: Caller, card: dict[str, Any], host: int | None = None) -> float:
        body: dict[str, Any] = {"namespace": self._namespace, "card": card}
        if host is not None:
            body["instance"] = {"id": "one", "url": f"http://127.0.0.1:{20000 + host}"}
        began = time.perf_counter()
        while True:
            status, text = await caller.call("/v1/agents", orjson.dumps(body))
            if status != 503:
                break
            self._again += 1
            await asyncio.sleep(1.0)
        if status not in (200, 201):
            raise RuntimeError(f"a publish was answered with {status}: {text.decode()}")
        return time.perf_counter() - began

    async def _host(
        self, caller: Caller, card: dict[str, Any], published: "asyncio.Future[float]", number: int
    ) -> None:
        published.set_result(await self._publish(caller, card, number))
        path = f"/v1/agents/{card['name']}/versions/{card['version']}/instances/one/heartbeat"
        await asyncio.sleep(random.uniform(0, _BEAT))
        while True:
            began = time.perf_counter()
            status, _ = await caller.call(f"{path}?namespace={self._namespace}")
            self._refused += status != 204
            self._beats.append(time.perf_counter() - began)
            await asyncio.sleep(max(_BEAT - self._beats[-1], 0))

    async def _change(self, changing: list[dict[str, Any]], acknowledged: dict[bytes, float]) -> list[float]:
        """Ask for changes at the rate told, however long each takes."""
        began = time.perf_counter()
        took: list[float] = []

        async def one(card: dict[str, Any]) -> None:
            caller = await self._free.get()
            took.append(await self._publish(caller, card))
            self._free.put_nowait(caller)
            acknowledged[card["name"].encode()] = time.perf_counter()

        async with asyncio.TaskGroup() as tasks:
            for number, card in enumerate(changing):
                await asyncio.sleep(max(began + number / self._given.changes - time.perf_counter(), 0))
                tasks.create_task(one(card))
        return took


def _times(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"


@contextmanager
def stores(kind: str, folder: Path) -> Iterator[tuple[str, list[str], str]]:
    """The store's address, options besides, and the namespace to publish in."""
    with ExitStack() as servers:
        if kind == "postgresql":
            yield servers.enter_context(Postgres()).create_database(), [], "public"
        elif kind == "nacos":
            server = servers.enter_context(Nacos())
            namespace = server.create_namespace()
            yield f"sqlite:///{folder}/copy.db", ["--nacos", server.address(namespace)], namespace
        else:
            yield f"sqlite:///{folder}/registry.db", [], "public"


def main() -> int:
    """Exit status 0 when nothing was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", choices=("sqlite", "postgresql", "nacos"), default="sqlite")
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    corpus = iter(cards(given.hosts + given.changes * given.seconds, Vocabulary()))
    with (
        tempfile.TemporaryDirectory() as folder,
        stores(given.store, Path(folder)) as (store, more, namespace),
    ):
        with Service(store, *more) as service:
            return asyncio.run(Load(service, given, namespace).run(corpus))


if __name__ == "__main__":
    sys.exit(main())
