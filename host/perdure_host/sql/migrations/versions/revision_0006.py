"""Table of deleted executions whose records and payloads are still to be deleted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "deleted_executions",
        sa.Column("bucket", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("execution_id", _TEXT, nullable=False),
        sa.PrimaryKeyConstraint("bucket", "execution_id"),
        sqlite_with_rowid=False,
    )
