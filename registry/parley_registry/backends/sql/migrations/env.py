"""Alembic's entry: the connection, in a transaction of its own, is made by `parley_registry.backends.sql.migrate`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], target_metadata=None, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
