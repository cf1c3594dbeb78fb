"""The record in a relational database, SQLite or PostgreSQL. Start at `record.SqlRecord`; all SQL is in `statements`
and `migrations/`. What touches the database is written once, as functions of a transaction."""

from parley_registry.backends.sql.record import SqlRecord

__all__ = ["SqlRecord"]
