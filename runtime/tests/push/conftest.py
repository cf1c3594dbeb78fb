"""Real stores with tasks that have push configurations, and real receivers on loopback."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from a2a.types import a2a_pb2 as pb

from parley_runtime.push.outbox import Outbox
from parley_runtime.store import Append, NewEvent, NewMessage, Store, Work

sys.path.insert(0, str(Path(__file__).parent))
from backends import Opened, opened_on

TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@dataclass
class Pushed:
    """A running task whose events are pushed: `emit` appends events as a worker would."""

    store: Store
    work: Work
    generation: int = 0

    @property
    def id(self) -> str:
        return self.work.task_id

    async def emit(self, count: int = 1) -> None:
        events = [
            NewEvent(body(self.id, n), 2) for n in range(self.generation + 1, self.generation + count + 1)
        ]
        append = Append(
            self.id, self.work.epoch, self.work.number, self.generation + 1, events, traceparent=TRACE
        )
        assert len((await self.store.append(append)).events) == count
        self.generation += count


def body(task_id: str, number: int) -> bytes:
    status = {"state": "TASK_STATE_WORKING", "timestamp": f"2026-01-01T00:00:00.{number:06d}Z"}
    return orjson.dumps({"statusUpdate": {"taskId": task_id, "contextId": "c", "status": status}})


class Tasks:
    """Makes tasks in one store."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self.store, self.outbox = store, outbox
        self.made = 0

    async def __call__(
        self, *configs: pb.TaskPushNotificationConfig, owner: str = "alice", name: str = ""
    ) -> Pushed:
        self.made += 1
        task_id = name or f"task-{self.made}"
        accepted = await self.store.accept(
            NewMessage(owner, f"m-{task_id}", b"d", task_id, False, "", f"c-{task_id}", "1", b"r", TRACE),
            take_as="worker",
        )
        assert accepted.work is not None
        for config in configs:
            config.task_id = task_id
            assert await self.outbox.set(owner, config, 20)
        return Pushed(self.store, accepted.work)


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/push.db"
    return str(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
def opened(address: str) -> Callable[[], AbstractAsyncContextManager[Opened]]:
    """The store and the outbox as one more process has them."""
    return lambda: opened_on(address)


@pytest.fixture
async def own(address: str) -> AsyncIterator[Opened]:
    async with opened_on(address) as found:
        yield found


@pytest.fixture
def store(own: Opened) -> Store:
    return own.store


@pytest.fixture
def outbox(own: Opened) -> Outbox:
    return own.outbox


@pytest.fixture
def tasks_of() -> type[Tasks]:
    """Makes tasks in any store: `tasks_of(store, outbox)`."""
    return Tasks


@pytest.fixture
def task(store: Store, outbox: Outbox) -> Tasks:
    return Tasks(store, outbox)


@dataclass
class Receiver:
    """A real webhook: notes every request and answers what `answers` gives for it (its number from 1)."""

    url: str = ""
    answers: Callable[[int], tuple[float, int, str]] = lambda _: (0.0, 200, "")
    """Seconds to wait, status, extra header lines."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    @property
    def generations(self) -> list[int]:
        """Of the requests, in order of arrival, repeats included."""
        return [int(headers["idempotency-key"].rpartition("/")[2]) for headers, _ in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
                content = await reader.readexactly(int(headers["content-length"]))
                self.requests.append((headers, content))
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                wait, status, extra = self.answers(len(self.requests))
                await asyncio.sleep(wait)
                self.under_way -= 1
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{extra}\r\n".encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def _receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield receiver
        server.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with _receiving() as found:
        yield found


@pytest.fixture
async def other_receiver() -> AsyncIterator[Receiver]:
    async with _receiving() as found:
        yield found


@pytest.fixture
async def dead_url() -> str:
    """A URL of a port where nobody listens."""
    async with _receiving() as found:
        return found.url
