"""Opening a store: the schema is brought forward, and what stands in the way is told with what to do about it."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Iterator

import asyncpg

from parley_core.errors import ConfigurationError
from parley_runtime.stores.postgres.connection import GONE, Address
from parley_runtime.stores.postgres.migrate import migrate

log = logging.getLogger(__name__)

_MAY_COME = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)
"""What a database answers that starts, or a network that is not there yet."""


async def migrated(address: Address, patience: float) -> None:
    """Bring the schema forward, trying for `patience` seconds to reach the database."""
    until, told = time.monotonic() + patience, False
    while True:
        try:
            return await migrate(address.dsn, address.schema)
        except _MAY_COME as error:
            if time.monotonic() >= until:
                raise
            if not told:
                log.warning(
                    "there is no PostgreSQL at that address (%s); trying again for %g s",
                    type(error).__name__,
                    patience,
                )
            told = True
        await asyncio.sleep(0.2)


@contextlib.contextmanager
def explained(schema: str) -> Iterator[None]:
    """Raises ConfigurationError for what keeps a store from being opened inside."""
    try:
        yield
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise ConfigurationError(f"--store: {error}; check user, password and database of the URL") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigurationError(
            f"--store: {error}; the user must be able to create schema {schema}, or to use it"
        ) from error
    except asyncpg.TooManyConnectionsError as error:
        raise ConfigurationError(
            f"--store: {error}; stop other processes, or raise max_connections"
        ) from error
    except asyncpg.ReadOnlySQLTransactionError as error:
        raise ConfigurationError(f"--store: {error}; name the primary, which takes writes") from error
    except (asyncpg.ClientConfigurationError, asyncpg.UndefinedObjectError, ssl.SSLError) as error:
        raise ConfigurationError(f"--store: {error}; check what follows the ? of the URL") from error
    except asyncpg.LockNotAvailableError as error:
        raise ConfigurationError(
            f"--store: the schema {schema} cannot be brought forward beside a transaction that goes on for long; try again "
            "when that has ended"
        ) from error
    except GONE as error:
        reason = "" if isinstance(error, asyncpg.InterfaceError) else f": {error}"
        raise ConfigurationError(
            f"--store: there is no PostgreSQL at that address ({type(error).__name__}{reason}); is it running?"
        ) from error
