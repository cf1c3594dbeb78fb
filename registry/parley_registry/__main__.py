"""`python -m parley_registry`: one registry process, until it is told to stop."""

import argparse
import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from pydantic import ValidationError

from parley_core import telemetry
from parley_core.errors import ConfigurationError, Unavailable
from parley_core.shown import shown_address
from parley_registry.backends.sql import SqlRecord
from parley_registry.nacos.address import NacosAddress
from parley_registry.service import create_app
from parley_registry.settings import RegistrySettings

_logger = logging.getLogger(__name__)

_UNREAD = 128 * 1024
"""Bytes that the system keeps of what a client has not read yet; by itself it would keep megabytes."""
_STUCK_MS = 30_000
"""Milliseconds after which a client that takes nothing is let go."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT: 0; 1 when it could not begin, 2 when the settings cannot be used."""
    parser = argparse.ArgumentParser("parley_registry", description="The catalogue of A2A agents.")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen (127.0.0.1:8420)")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="sqlite:///path/to/file.db, or postgresql://user:password@host:5432/database",
    )
    parser.add_argument(
        "--nacos", metavar="URL", help="serve the agents of nacos://user:password@host:8848/namespace,…"
    )
    parser.add_argument(
        "--stale-after",
        type=float,
        metavar="SECONDS",
        help="what is served of Nacos is stale so long after it was known to hold (15)",
    )
    parser.add_argument("--public-url", metavar="URL", help="where others reach this registry")
    parser.add_argument(
        "--ttl", type=float, metavar="SECONDS", help="an instance silent for so long is gone (6)"
    )
    parser.add_argument("--allow", metavar="CIDR,…", help="private addresses that cards may be fetched from")
    parser.add_argument(
        "--embeddings",
        metavar="SOURCE",
        help="search by meaning, with local:/path/to/model or http(s)://host/v1",
    )
    parser.add_argument("--embeddings-model", metavar="NAME", help="the model to ask that API for")
    parser.add_argument(
        "--embeddings-cache", metavar="FILE", help="keeps vectors over restarts (.parley/data/embeddings.db)"
    )
    parser.add_argument(
        "--trusted-keys", metavar="[SIGNER=]URL|FILE,…", help="keys whose signatures of cards count"
    )
    parser.add_argument(
        "--require-signature", action="store_true", default=None, help="take only cards signed by them"
    )
    parser.add_argument(
        "--grants", metavar="SUBJECT=RIGHT …,…", help="rights of tokens that name none (*=*/*)"
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", default="auto", choices=("auto", "text", "json"))
    told = vars(parser.parse_args(arguments))
    log_level, log_format = told.pop("log_level"), told.pop("log_format")
    given: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    try:
        settings = RegistrySettings(**given)
        asyncio.run(_try_store(settings))
        app = create_app(settings)
    except ValidationError as error:
        faults = "; ".join(f"{one['loc'][0] if one['loc'] else ''}: {one['msg']}" for one in error.errors())
        sys.stderr.write(f"parley_registry: {faults}\n")
        return 2
    except ConfigurationError as error:
        sys.stderr.write(f"parley_registry: {error}\n")
        return 2
    host, _, port = settings.listen.rpartition(":")
    if not host or not port.isdigit():
        sys.stderr.write(
            f"parley_registry: --listen {settings.listen!r} is not host:port; use 127.0.0.1:8420\n"
        )
        return 2
    try:
        listener = _listener(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        sys.stderr.write(
            f"parley_registry: cannot listen on {settings.listen}: {error}; choose another --listen\n"
        )
        return 2
    telemetry.configure_logging(log_level, form=log_format)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,  # longer than clients keep idle connections, so that none is closed under a call
        timeout_graceful_shutdown=3,
    )
    server = _Server(config, settings)
    asyncio.run(server.serve(sockets=[listener]))
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, settings: RegistrySettings) -> None:
        super().__init__(config)
        self._settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            of = self._settings.nacos
            _logger.info(
                "serving at http://%s/ (pages for a browser; the API is at /docs), kept in %s%s",
                self._settings.listen,
                shown_address(self._settings.store),
                f", with the agents of {NacosAddress.parse(of.get_secret_value())}" if of else "",
            )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own way is to raise the signal once more at the end, as if being told to stop were a failure.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _listener(host: str, port: int) -> socket.socket:
    # With the protocol said, asyncio sets TCP_NODELAY; without, each answer waits 40 ms for a delayed acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit these. A watcher that reads nothing costs some memory, for some time, and then its connection.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STUCK_MS)
    try:
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


async def _try_store(settings: RegistrySettings) -> None:
    """Open the store once beforehand, when it answers: a failure inside the server would end in a traceback."""
    if settings.nacos:
        NacosAddress.parse(settings.nacos.get_secret_value())
    record = SqlRecord(settings.store)
    waits = False
    while True:
        try:
            await record.open()
            break
        except Unavailable as error:
            if not waits:
                sys.stderr.write(f"parley_registry: {error}; waiting for it\n")
            waits = True
            await asyncio.sleep(1.0)
    await record.close()


if __name__ == "__main__":
    sys.exit(main())
