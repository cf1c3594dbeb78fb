"""Starting, watching and ending the server processes of a bench."""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import psutil
import quiet

from engines.ports import free_port

HERE = Path(__file__).parent
SIDES = ("parley", "sdk")
_SCRATCH = HERE.parents[1] / ".parley" / "bench"
_START = 30.0


class Server:
    """A server process and where it is reached."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self.process = process
        self._seen = psutil.Process(process.pid)

    @property
    def ports(self) -> Sequence[int]:
        """Where clients call: its own port."""
        return (self.port,)

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far, all threads, user and system."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    @property
    def rss(self) -> int:
        """Resident bytes now."""
        return int(self._seen.memory_info().rss)

    def kill(self) -> None:
        """End it the hard way (SIGKILL)."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def stop(self) -> None:
        """End it the hard way: a bench has nothing to save."""
        self.kill()
        await self.process.wait()


async def start(side: str, *, store: str = "", role: str = "front,worker", **settings: str) -> Server:
    """A server that answers, with a store at this address and these further settings (`queue="rocketmq://…"`).
    Raises RuntimeError when it does not come up."""
    await quiet.moment()
    port = free_port()
    arguments = [sys.executable, str(HERE / "serve.py"), side, "--port", str(port), "--role", role]
    if store:
        arguments += ["--store", store]
    environment = {
        **os.environ,
        **{f"PARLEY_{name.upper()}": value for name, value in settings.items()},
        "OTEL_INSTRUMENTATION_A2A_SDK_ENABLED": "false",
        "OTEL_SDK_DISABLED": "true",
    }
    process = await asyncio.create_subprocess_exec(*arguments, env=environment)
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.returncode is None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return Server(process, port)
        await asyncio.sleep(0.05)
    if process.returncode is None:
        process.kill()
    raise RuntimeError(f"the {side} server did not come up (exit {process.returncode}); its errors are above")


@contextlib.asynccontextmanager
async def running(side: str) -> AsyncIterator[Server]:
    """One server of a side, Parley's on a fresh file on disk, gone afterwards."""
    with _home() as home:
        server = await start(side, store=f"sqlite:///{home / 'bench.db'}")
        try:
            yield server
        finally:
            await server.stop()


@contextlib.asynccontextmanager
async def fleet(*roles: str) -> AsyncIterator[tuple[list[Server], str]]:
    """Parley processes with these roles on one fresh file, and its address; what is added to the list is stopped too."""
    with _home() as home:
        store = f"sqlite:///{home / 'bench.db'}"
        servers: list[Server] = []
        try:
            for role in roles:
                servers.append(await start("parley", store=store, role=role))
            yield servers, store
        finally:
            await asyncio.gather(*(server.stop() for server in servers))


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    # Beside the sources and not in the system's temporary folder, which may be memory.
    _SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_SCRATCH, ignore_cleanup_errors=True) as home:
        yield Path(home)
