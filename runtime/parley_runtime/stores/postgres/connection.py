"""Connections to one agent's schema: how they are made, and what their errors mean."""

import asyncio
import contextlib
import re
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from parley_core.errors import ConfigurationError, Unavailable

_CONNECT = 5.0
_STATEMENT = 10.0
_POOLED = 5
"""Connections that all statements off the hot path share."""

GONE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InternalClientError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""The database, or the way to it, is gone, too slow, or one that takes no writes or not us (after a failover, or while a
password changes); what was under way may or may not have been done."""
AGAIN = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)
"""Undone in favour of another; worth the same try again at once."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database as asyncpg takes it, and the agent's schema in it."""

    dsn: str
    schema: str

    @property
    def key(self) -> str:
        """A short name for the agent within its database server."""
        return f"parley_{zlib.crc32(self.schema.encode()):08x}"


def address_of(url: str, agent: str) -> Address:
    """The address that `postgresql://user:password@host:port/database?schema=x` means for an agent; without `schema`
    each agent has a schema named after it. Other parameters are libpq's (sslmode …)."""
    try:
        parts = urlsplit(url)
        readable = all(map(_readable, parts.netloc.rpartition("@")[2].split(",")))
    except ValueError:
        readable = False
    if not readable:  # which part is not said: it may be one of a password
        raise ConfigurationError(
            "--store is no URL: write / ? # @ [ ] % of user and password as %2F %3F %23 %40 %5B %5D %25, and hosts as host:port"
        )
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ConfigurationError("--store needs a database: postgresql://user:password@host:5432/database")
    query = dict(parse_qsl(parts.query))
    schema = query.pop("schema", "") or _schema(agent)
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", schema):
        raise ConfigurationError(
            f"schema {schema!r} of --store cannot be used: begin with a lower-case letter, then letters, digits and _ (at most 48)"
        )
    return Address(urlunsplit(parts._replace(query=urlencode(query))), schema)


def _readable(host: str) -> bool:
    found = re.fullmatch(r"(?:\[[^\]]*\]|[^:]*)(?::(\d{0,5}))?", host)
    return found is not None and int(found[1] or 0) <= 65535


def _schema(agent: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", agent.lower()).strip("_")[:32]
    # Two agents whose names differ only in what was left out must not share their tasks.
    mark = "" if plain == agent else f"_{zlib.crc32(agent.encode()):08x}"
    return f"parley_{plain}{mark}"


async def connect(address: Address, name: str, *, hot: bool = False, lasting: bool = True) -> Any:
    """A connection on the agent's schema. `hot` ones always use indexes, whatever statistics a young table has, and plan a
    statement once. Not `lasting`: what it commits (notifications) need not be on disk."""
    settings = {
        "search_path": f'"{address.schema}"',
        "application_name": f"parley {name}"[:63],
        "jit": "off",
        "statement_timeout": str(int(_STATEMENT * 1000)),
        "idle_in_transaction_session_timeout": "15000",
        "lock_timeout": "5000",
    }
    if hot:
        settings |= {
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_bitmapscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
        }
    if not lasting:
        settings["synchronous_commit"] = "off"
    return await asyncpg.connect(
        address.dsn, timeout=_CONNECT, command_timeout=_STATEMENT + 2, server_settings=settings
    )


class Pool:
    """A few connections for everything that is not hot. What it raises is Unavailable or a programming error."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._pool: asyncpg.Pool[Any] | None = None

    async def open(self) -> None:
        async def make(*_: object, **__: object) -> Any:
            return await connect(self._address, "pool")

        self._pool = await asyncpg.create_pool(
            min_size=0, max_size=_POOLED, connect=make, reset=_as_it_is, max_inactive_connection_lifetime=60
        )

    async def close(self) -> None:
        if self._pool is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self._pool.close()
                    return
            self._pool.terminate()

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """A connection, each statement a transaction of its own."""
        assert self._pool is not None, "the store is not open"
        try:
            async with self._pool.acquire(timeout=_CONNECT) as connection:
                yield connection
        except (*GONE, *AGAIN, asyncpg.InsufficientResourcesError) as error:
            raise away(error) from error

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection in a transaction, committed at the end."""
        async with self.session() as connection, connection.transaction():
            yield connection


async def _as_it_is(_: object) -> None:
    """Nothing that a connection of ours is used for leaves anything behind (asyncpg's reset costs a round trip)."""


def away(error: BaseException) -> Unavailable:
    """What callers are told. (Errors of connections may quote the address, so only their kind is said.)"""
    detail = str(error) if isinstance(error, asyncpg.PostgresError) else type(error).__name__
    return Unavailable(f"the store does not answer ({detail}); try again")
