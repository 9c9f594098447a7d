"""Table of status-change events that are not delivered yet."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table, and the index that finds the oldest."""
    op.create_table(
        "status_events",
        sa.Column("bucket", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("execution_id", _TEXT, nullable=False),
        sa.Column("event_id", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("namespace", _TEXT, nullable=False),
        sa.Column("function", _TEXT, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("status", _TEXT, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("bucket", "execution_id", "event_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "status_events_by_time",
        "status_events",
        ["at_ms", "bucket", "execution_id", "event_id"],
    )
