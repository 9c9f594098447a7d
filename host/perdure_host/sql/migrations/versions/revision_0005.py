"""Indexes in the order of lists: by status and by function, with the name; and unique by name.

They take the place of those by start and by function, and of the names within their buckets.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_COLUMNS = (
    "bucket, execution_id, namespace, function, name, status, started_ms, input_digest, sequence,"
    " event_count, waiting_for, ended_ms, expires_ms"
)


def upgrade() -> None:
    """Replace the indexes; SQLite keeps a unique constraint for as long as its table."""
    if op.get_bind().dialect.name == "sqlite":
        _build_again()
    else:
        op.drop_constraint("executions_name", "executions")
        op.drop_index("executions_by_function", "executions")
        op.drop_index("executions_by_start", "executions")
    place = ["status", "started_ms", "execution_id", "name", "bucket"]
    op.create_index("executions_by_status", "executions", ["namespace", *place])
    op.create_index("executions_by_function", "executions", ["namespace", "function", *place])
    names = ["namespace", "name", "function"]
    op.create_index("executions_name", "executions", names, unique=True)


def _build_again() -> None:
    """Copy the executions into a table without the constraint."""
    op.create_table(
        "executions_0005",
        sa.Column("bucket", sa.Integer, nullable=False, autoincrement=False),
        _text("execution_id"),
        _text("namespace"),
        _text("function"),
        _text("name"),
        _text("status"),
        _number("started_ms"),
        sa.Column("input_digest", sa.LargeBinary, nullable=False),
        _number("sequence"),
        _number("event_count"),
        _text("waiting_for"),
        _number("ended_ms", nullable=True),
        _number("expires_ms", nullable=True),
        sa.PrimaryKeyConstraint("bucket", "execution_id"),
        sqlite_with_rowid=False,
    )
    op.execute(
        f"INSERT INTO executions_0005 ({_COLUMNS}) SELECT {_COLUMNS} FROM executions"  # noqa: S608
        " ORDER BY bucket, execution_id"
    )
    op.drop_table("executions")
    op.rename_table("executions_0005", "executions")
    key = ["bucket", "execution_id"]
    _partial_index("executions_waiting_for_task", key, "waiting_for = 'task'")
    _partial_index("executions_waiting_for_nothing", key, "waiting_for = 'nothing'")
    _partial_index("executions_open", ["function"], "ended_ms IS NULL")
    _partial_index("executions_expiring", ["expires_ms"], "expires_ms IS NOT NULL")


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, _TEXT, nullable=False)


def _number(name: str, *, nullable: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _partial_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "executions", columns, sqlite_where=sa.text(where))
