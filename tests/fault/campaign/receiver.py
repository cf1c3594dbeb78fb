"""A webhook receiver: keeps what arrives, and now and then fails to answer well."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Iterator

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from campaign.history import History


class Receiver:
    """Receives pushes at `/hook`. Of what arrives, every `unwell`-th on average is answered by 503 after it was
    noted, and sometimes late: the sender must send it again."""

    def __init__(self, history: History, seed: int, port: int, unwell: float = 0.03) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.arrived: dict[str, list[int]] = defaultdict(list)
        self._history = history
        self._dice = random.Random(f"receiver-{seed}")
        self._unwell = unwell
        app = Starlette(routes=[Route("/hook", self._hook, methods=["POST"])])
        self._server = _Server(
            uvicorn.Config(app, "127.0.0.1", port, log_config=None, access_log=False, lifespan="off")
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve until `close`."""
        self._serving = asyncio.create_task(self._server.serve(), name="receiver")
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving

    async def _hook(self, request: Request) -> Response:
        body = orjson.loads(await request.body())
        task, _, generation = request.headers["idempotency-key"].rpartition("/")
        self.arrived[task].append(int(generation))
        state = body.get("statusUpdate", body.get("task", {})).get("status", {}).get("state", "")
        self._history.note("receiver", "push", task, generation=int(generation), state=state)
        if self._dice.random() < self._unwell:
            await asyncio.sleep(self._dice.uniform(0, 1))
            return Response(status_code=503)
        return Response(status_code=204)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are whoever's who runs the campaign."""
        yield
