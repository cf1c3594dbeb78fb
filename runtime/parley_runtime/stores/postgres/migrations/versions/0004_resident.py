"""Whose tasks a schema keeps: each version of the agent, and the executor that runs it."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLE = """
CREATE TABLE resident(
  version text PRIMARY KEY,
  agent text NOT NULL,
  executor text NOT NULL
)
"""


def upgrade() -> None:
    """Make the table; whoever starts next is the first in it."""
    op.get_bind().exec_driver_sql(_TABLE)
