"""Versions side by side: the rollout table as it was last told, when tasks were accepted, and the numbers that executors
report of them."""

from alembic import op

revision = "0005"
down_revision = "0004"

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS rollout(
  version text PRIMARY KEY,
  position integer NOT NULL,
  state text NOT NULL,
  weight double precision NOT NULL
)
""",
    """
CREATE TABLE IF NOT EXISTS measure(
  task_id text NOT NULL,
  name text NOT NULL,
  version text NOT NULL,
  at double precision NOT NULL,
  value double precision NOT NULL,
  PRIMARY KEY(task_id, name)
)
""",
    "CREATE INDEX IF NOT EXISTS measure_newest ON measure(version, name, at, value)",
    "ALTER TABLE task ADD COLUMN IF NOT EXISTS accepted double precision",
)
_INDEXES = (("task_interrupted", "task(version, owner, context_id) WHERE state IN (6, 8)"),)


def upgrade() -> None:
    """Runs beside live traffic: tasks accepted before have no time of acceptance, and the index is built without locking
    writers."""
    for statement in _TABLES:
        op.get_bind().exec_driver_sql(statement)
    with op.get_context().autocommit_block():
        for name, what in _INDEXES:
            op.get_bind().exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.get_bind().exec_driver_sql(f"CREATE INDEX CONCURRENTLY {name} ON {what}")
