"""The store on one SQLite file."""

from parley_runtime.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
