"""The database that a record is in, SQLite or PostgreSQL, as both have it: functions of a connection, run elsewhere.

Such a function is written once and does not know which of them it has: on SQLite it runs in a thread, on PostgreSQL in a
greenlet over asyncpg. It may be run again when the first time was undone, so it must have no other effect.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from parley_registry.backends.sql.transaction import Transaction

T = TypeVar("T")


class Database(Protocol):
    """All calls raise Unavailable when the database does not answer; whether a change was made is then not known."""

    async def open(self) -> None:
        """Bring the schema forward and start. Raises ConfigurationError, and Unavailable when it is away for now."""

    async def close(self) -> None:
        """Finish what is pending and let go."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, all of whose statements see the same moment."""

    async def glance(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, which makes one statement."""

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """The result of `work`, committed; one at a time, over all processes."""

    async def beat(self, work: Callable[[Connection, float], T]) -> T:
        """The result of `work` on a connection and the record's time, committed, out of turn: it neither logs a change
        nor decides on what others may change meanwhile, and may be lost when the database's machine dies."""

    def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` when another process may have changed something. Only a hint: some may be lost."""
