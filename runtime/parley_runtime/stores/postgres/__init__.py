"""The store on PostgreSQL: a schema for each agent."""

from parley_runtime.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
