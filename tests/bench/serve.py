"""One server of a bench, as a process of its own: `python serve.py parley|sdk --port N [--store URL] [--role …]`.

Both sides: the same executor, uvicorn with uvloop and httptools, no access log, the same GC settings. The SDK's
keeps its tasks in memory, or, with a PostgreSQL store, in its own cluster stores.
"""

import argparse
import contextlib
import gc
import logging
import resource
from collections.abc import AsyncIterator

import httpx
import uvicorn
import uvloop
from a2a.server.cluster import DatabaseTaskEventStream, VersionedDatabaseTaskStore
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
)
from agent import BenchAgent, card
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette

from parley_runtime.host import AgentHost
from parley_runtime.settings import HostSettings

_POOL = 32


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("parley", "sdk"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", default="")
    parser.add_argument("--role", default="front,worker")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    if given.side == "parley":
        uvloop.run(_parley(given.port, given.store, given.role))
    else:
        uvloop.run(_sdk(given.port, given.store))


async def _parley(port: int, store: str, role: str) -> None:
    listen = f"127.0.0.1:{port}"
    settings = HostSettings(listen=listen, store=store, role=role, push_allow="127.0.0.0/8")  # type: ignore[arg-type]
    await AgentHost(card(f"http://{listen}"), BenchAgent(), settings).run()


async def _sdk(port: int, store: str) -> None:
    handler = await _clustered(port, store) if store.startswith("postgresql:") else _in_memory(port)
    config = uvicorn.Config(
        Starlette(routes=create_jsonrpc_routes(handler, "/a2a/jsonrpc"), lifespan=_lifespan),
        port=port,
        log_config=None,
        access_log=False,
        backlog=2048,
        http="httptools",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    await server.serve()


def _in_memory(port: int) -> DefaultRequestHandler:
    pushes = InMemoryPushNotificationConfigStore()
    return DefaultRequestHandler(
        BenchAgent(),
        InMemoryTaskStore(),
        card(f"http://127.0.0.1:{port}"),
        push_config_store=pushes,
        push_sender=BasePushNotificationSender(httpx.AsyncClient(timeout=30), pushes),
    )


async def _clustered(port: int, store: str) -> DefaultRequestHandler:
    """The SDK's own set-up for several replicas on one database, its tables made and every other setting its default
    but the pool, which has a connection for each call in flight."""
    engine = create_async_engine(store.replace("postgresql:", "postgresql+asyncpg:", 1), pool_size=_POOL)
    tasks, events = VersionedDatabaseTaskStore(engine), DatabaseTaskEventStream(engine)
    await tasks.initialize()
    await events.initialize()
    return DefaultRequestHandler(BenchAgent(), tasks, card(f"http://127.0.0.1:{port}"), event_stream=events)


@contextlib.asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    # What Parley's host does when it has started.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    yield


if __name__ == "__main__":
    main()
