"""What retention needs: how far a log was compacted, and finding what ended long ago; the age of what waits."""

from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMNS = """
ALTER TABLE task ADD COLUMN IF NOT EXISTS log_from integer NOT NULL DEFAULT 1,
 ADD COLUMN IF NOT EXISTS ended_at double precision
"""
_INDEXES = (
    ("task_ended", "task(ended_at) WHERE ended_at IS NOT NULL"),
    ("task_compactable", "task(ended_at) WHERE ended_at IS NOT NULL AND log_from = 1 AND state < 100"),
    ("queue_since", "queue(since) WHERE worker = ''"),
)


def upgrade() -> None:
    """Runs beside live traffic: no default that rewrites a table, and the indexes are built without locking writers."""
    op.get_bind().exec_driver_sql(_COLUMNS)
    with op.get_context().autocommit_block():
        for name, what in _INDEXES:
            # One left half-made by an interrupted run is not used, and in the way.
            op.get_bind().exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.get_bind().exec_driver_sql(f"CREATE INDEX CONCURRENTLY {name} ON {what}")
