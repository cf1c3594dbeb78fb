"""The tables of the record."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

# Compared byte by byte, as SQLite does: an order that no update of a locale can change under an index.
_TEXT = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def _text(name: str, **given: object) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False, **given)  # type: ignore[arg-type]


def _seconds(name: str, **given: object) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=False, **given)  # type: ignore[arg-type]


def _number(name: str, **given: object) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=False, autoincrement=False, **given)  # type: ignore[arg-type]


def _bytes(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    """Everything there is in the first version."""
    head = op.create_table("head", _number("id", primary_key=True), _number("seq"), _number("audited"))
    op.bulk_insert(head, [{"id": 1, "seq": 0, "audited": 0}])
    op.create_table(
        "agents",
        _text("namespace", primary_key=True),
        _text("name", primary_key=True),
        _text("latest"),
        _text("source"),
        _text("owner"),
        _seconds("next_look"),
        _seconds("touched"),
    )
    op.create_table(  # what the names of agents can be taken for, see names.shapes
        "shapes",
        _text("namespace", primary_key=True),
        _text("shape", primary_key=True),
        _text("name", primary_key=True),
        sa.ForeignKeyConstraint(
            ["namespace", "name"], ["agents.namespace", "agents.name"], ondelete="CASCADE"
        ),
    )
    due = sa.text("source <> ''")
    op.create_index("agents_by_look", "agents", ["next_look"], sqlite_where=due, postgresql_where=due)
    op.create_table(
        "entries",
        _text("namespace", primary_key=True),
        _text("name", primary_key=True),
        _text("version", primary_key=True),
        _text("health"),
        _bytes("card"),
        _text("digest"),
        _seconds("updated"),
        sa.ForeignKeyConstraint(["namespace", "name"], ["agents.namespace", "agents.name"]),
    )
    op.create_table(
        "instances",
        _text("namespace", primary_key=True),
        _text("name", primary_key=True),
        _text("version", primary_key=True),
        _text("id", primary_key=True),
        _text("url"),
        _bytes("interfaces"),
        _seconds("since"),
        _seconds("seen"),
        sa.ForeignKeyConstraint(
            ["namespace", "name", "version"],
            ["entries.namespace", "entries.name", "entries.version"],
            ondelete="CASCADE",
        ),
    )
    op.create_index("instances_by_seen", "instances", ["seen"])
    op.create_table(
        "changes",
        _number("seq", primary_key=True),
        _text("kind"),
        _text("namespace"),
        _text("name"),
        _text("version"),
    )
    op.create_table(
        "rollouts",
        _text("namespace", primary_key=True),
        _text("name", primary_key=True),
        _number("revision"),
        _bytes("content"),
    )
    op.create_table(
        "audit",
        _number("seq", primary_key=True),
        _seconds("at"),
        *(_text(name) for name in ("actor", "remote", "action", "namespace", "name", "version")),
        *(_text(name) for name in ("before", "after", "detail")),
    )
    op.create_index("audit_of_agent", "audit", ["namespace", "name", "seq"])
    op.create_table(  # whose prompts and MCP servers are
        "things",
        _text("kind", primary_key=True),
        _text("namespace", primary_key=True),
        _text("name", primary_key=True),
        _text("owner"),
    )
    # Names that are about to be taken where the record is not a database, for as long as that may take.
    op.create_table(
        "claims",
        _text("namespace", primary_key=True),
        _text("shape", primary_key=True),
        _text("owner"),
        _seconds("until"),
    )
    # When the copy of another record was last known to be the same.
    op.create_table("mirrors", _text("namespace", primary_key=True), _seconds("synced"))
