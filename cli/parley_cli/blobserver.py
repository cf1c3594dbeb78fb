"""Large parts of messages on an embedded platform: in one folder that the team shares, and by signed URL for
agents that are not of the team."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parley_cli.home import Home


def folder(home: Home) -> Path:
    """Where the blobs are."""
    return home.root / "blobs"


def environment(home: Home, url: str) -> Mapping[str, str]:
    """What tells the team's agents of it."""
    return {"PARLEY_BLOBS": str(folder(home)), "PARLEY_BLOB_URL": url, "PARLEY_BLOB_ALLOW": "127.0.0.0/8"}


async def serve(home: Home, url: str) -> None:
    """Answer signed URLs at `url` (http://127.0.0.1:port) until cancelled. Raises OSError when it is taken."""
    import uvicorn
    from starlette.applications import Starlette

    from parley_core.bloblinks import UrlSigner, load_key
    from parley_core.blobroutes import read_route
    from parley_core.blobstores import blob_store
    from parley_core.hostguard import HostGuard, allowed_hosts

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are the supervisor's

    address = url.removeprefix("http://")
    host, _, port = address.rpartition(":")
    route = read_route(blob_store(str(folder(home))), UrlSigner(load_key(home.root / "blob.key")))
    app: Any = HostGuard(Starlette(routes=[route]), allowed_hosts(address))
    config = uvicorn.Config(
        app, host=host, port=int(port), log_config=None, access_log=False, lifespan="off", server_header=False
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(), name="blobs")
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.wait([serving], timeout=2.0)
