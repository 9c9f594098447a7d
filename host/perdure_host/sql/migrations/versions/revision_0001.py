"""Initial schema: nodes, buckets, executions and their events, timers, outbox, functions."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_BUCKETS = 4_096
_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Create everything."""
    _create_membership()
    _create_executions()
    _create_belongings()


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, _TEXT, nullable=False)


def _number(name: str, *, nullable: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _bytes(name: str) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _bucket() -> "sa.Column[int]":
    return sa.Column("bucket", sa.Integer, nullable=False, autoincrement=False)


def _create(
    name: str,
    *columns: "sa.Column[int] | sa.Column[str] | sa.Column[bytes] | sa.Column[bool]",
    key: tuple[str, ...],
    unique: "sa.UniqueConstraint | None" = None,
    **options: Any,
) -> sa.Table:
    constraints = [sa.PrimaryKeyConstraint(*key), *([] if unique is None else [unique])]
    return op.create_table(name, *columns, *constraints, sqlite_with_rowid=False, **options)


def _create_membership() -> None:
    _create(
        "nodes",
        _text("node_name"),
        _number("incarnation"),
        sa.Column("live", sa.Boolean, nullable=False),
        _text("address"),
        _number("lease_until_ms"),
        _number("joined_ms"),
        key=("node_name",),
        unique=sa.UniqueConstraint("incarnation", name="nodes_incarnation"),
    )
    buckets = _create("buckets", _bucket(), _number("incarnation"), key=("bucket",))
    op.bulk_insert(buckets, [{"bucket": bucket, "incarnation": 0} for bucket in range(_BUCKETS)])
    _create("cluster", _text("key"), _bytes("value"), key=("key",))


def _create_executions() -> None:
    _create(
        "executions",
        _bucket(),
        _text("execution_id"),
        _text("namespace"),
        _text("function"),
        _text("name"),
        _text("status"),
        _number("started_ms"),
        _bytes("input_digest"),
        _number("sequence"),
        _number("event_count"),
        _text("waiting_for"),
        _number("ended_ms", nullable=True),
        _number("expires_ms", nullable=True),
        key=("bucket", "execution_id"),
        unique=sa.UniqueConstraint(
            "bucket", "namespace", "function", "name", name="executions_name"
        ),
        postgresql_with={"fillfactor": 70},
    )
    place = ["started_ms", "execution_id"]
    op.create_index("executions_by_function", "executions", ["namespace", "function", *place])
    op.create_index("executions_by_start", "executions", ["namespace", *place])
    key = ["bucket", "execution_id"]
    _partial_index("executions_waiting_for_task", key, "waiting_for = 'task'")
    _partial_index("executions_waiting_for_nothing", key, "waiting_for = 'nothing'")
    _partial_index("executions_open", ["function"], "ended_ms IS NULL")
    _partial_index("executions_expiring", ["expires_ms"], "expires_ms IS NOT NULL")


def _partial_index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "executions", columns, postgresql_where=condition, sqlite_where=condition)


def _create_belongings() -> None:
    _create(
        "events",
        _bucket(),
        _text("execution_id"),
        sa.Column("sequence", sa.BigInteger, nullable=False, autoincrement=False),
        _number("first_event_id"),
        _number("event_count"),
        _bytes("body"),
        key=("bucket", "execution_id", "sequence"),
    )
    _create(
        "timers",
        _bucket(),
        _text("execution_id"),
        _number("due_ms"),
        key=("bucket", "execution_id"),
    )
    op.create_index("timers_due", "timers", ["due_ms", "bucket", "execution_id"])
    _create("outbox", _bucket(), _text("outbox_id"), _bytes("body"), key=("bucket", "outbox_id"))
    _create(
        "functions",
        _text("namespace"),
        _text("name"),
        _number("execution_timeout_s"),
        _number("retention_days"),
        sa.Column("durable", sa.Boolean, nullable=False),
        key=("namespace", "name"),
    )
