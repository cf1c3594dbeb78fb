"""Prompts and the texts of their versions, and MCP servers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

# Compared byte by byte, as in 0001.
_TEXT = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def _text(name: str, **given: object) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False, **given)  # type: ignore[arg-type]


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    """Each has a row with all that is small, as JSON; `words` is what a list is searched by."""
    op.create_table(
        "prompts",
        _text("namespace", primary_key=True),
        _text("name", primary_key=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        _text("words"),
        _bytes("about"),
    )
    op.create_table(
        "prompt_texts",
        _text("namespace", primary_key=True),
        _text("name", primary_key=True),
        _text("digest", primary_key=True),
        _text("version", primary_key=True),
        _bytes("body"),
        sa.ForeignKeyConstraint(
            ["namespace", "name"], ["prompts.namespace", "prompts.name"], ondelete="CASCADE"
        ),
    )
    op.create_table(
        "mcp_servers",
        _text("namespace", primary_key=True),
        _text("name", primary_key=True),
        _text("version", primary_key=True),
        sa.Column("latest", sa.Boolean(), nullable=False),
        _text("digest"),
        _text("source"),
        _text("health"),
        _text("words"),
        _bytes("body"),
        sa.Column("updated", sa.Double(), nullable=False),
    )
