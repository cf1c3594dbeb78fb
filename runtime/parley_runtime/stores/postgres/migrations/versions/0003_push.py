"""What many senders need: each way to look into the outbox has an index of its own, small because it is partial."""

from alembic import op

revision = "0003"
down_revision = "0002"

_DROPPED = ("outbox_due", "outbox_order")
_INDEXES = (
    ("outbox_due_at", "outbox(not_before, id) WHERE state = 0"),
    ("outbox_lane", "outbox(task_id, config_id, id) WHERE state = 0"),
    ("outbox_given_up", "outbox(created) WHERE state = 2"),
    ("outbox_failed", "outbox(task_id, id) WHERE state = 2"),
)
# Rows come and go: those that have gone are cleared away early, or looking for what is due passes over all of them.
_VACUUM = """
ALTER TABLE outbox SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500,
 autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2)
"""


def upgrade() -> None:
    """Runs beside live traffic: the indexes are built without locking writers, the old ones go when the new are there."""
    op.get_bind().exec_driver_sql(_VACUUM)
    with op.get_context().autocommit_block():
        for name, what in _INDEXES:
            op.get_bind().exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.get_bind().exec_driver_sql(f"CREATE INDEX CONCURRENTLY {name} ON {what}")
        for name in _DROPPED:
            op.get_bind().exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
