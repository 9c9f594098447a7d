"""Tables of the database. Alembic's migrations create them; a test compares the two.

The bucket leads every primary key, so that buckets can be spread over several databases; the
indexes of lists lead with what is listed, those of alarms and of status-change events with the
time. Every commit of an execution
updates its row, so its indexes are on columns that rarely change, and its pages keep some free
space: PostgreSQL then updates the row within its page and touches no index (HOT).
The partial indexes contain only what is queried: executions that wait for a task, that wait for
nothing (a violation), that are open, and that will expire.

Text is compared byte by byte on every database, so that pages come in the same order everywhere.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import TEXT as POSTGRES_TEXT

metadata = MetaData()


class _Bytes(LargeBinary):
    """Bytes as the driver returns them. A damaged value must not be converted: it is checked."""

    def result_processor(self, dialect: Any, coltype: Any) -> None:  # noqa: ARG002
        return None


_TEXT = Text().with_variant(POSTGRES_TEXT(collation="C"), "postgresql")


def _text(name: str, *, primary_key: bool = False) -> Column[str]:
    return Column(name, _TEXT, primary_key=primary_key, nullable=False)


def _bucket() -> Column[int]:
    return Column("bucket", Integer, primary_key=True, autoincrement=False)


def _number(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


nodes = Table(
    "nodes",
    metadata,
    _text("node_name", primary_key=True),
    _number("incarnation"),
    Column("live", Boolean, nullable=False),
    _text("address"),
    _number("lease_until_ms"),
    _number("joined_ms"),
    UniqueConstraint("incarnation", name="nodes_incarnation"),
    sqlite_with_rowid=False,
)

# Which incarnation owns which bucket.
buckets = Table(
    "buckets",
    metadata,
    _bucket(),
    _number("incarnation"),
    sqlite_with_rowid=False,
)

executions = Table(
    "executions",
    metadata,
    _bucket(),
    _text("execution_id", primary_key=True),
    _text("namespace"),
    _text("function"),
    _text("name"),
    _text("status"),
    _number("started_ms"),
    Column("input_digest", _Bytes(), nullable=False),
    _number("sequence"),
    _number("event_count"),
    _text("waiting_for"),
    _number("ended_ms", nullable=True),
    _number("expires_ms", nullable=True),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},
)

# Lists are read off the first two, in order of the start within each status; a walk that looks for
# names reads nothing but their entries. Names are unique, whatever their bucket, which follows from
# them.
_PLACE = (executions.c.status, executions.c.started_ms, executions.c.execution_id)
_namespace, _function, _name = executions.c.namespace, executions.c.function, executions.c.name
Index("executions_by_status", _namespace, *_PLACE, _name, executions.c.bucket)
Index("executions_by_function", _namespace, _function, *_PLACE, _name, executions.c.bucket)
Index("executions_name", _namespace, _name, _function, unique=True)


def _partial_index(name: str, where: str, *columns: Column[int] | Column[str]) -> None:
    Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))


_KEY = (executions.c.bucket, executions.c.execution_id)
_partial_index("executions_waiting_for_task", "waiting_for = 'task'", *_KEY)
_partial_index("executions_waiting_for_nothing", "waiting_for = 'nothing'", *_KEY)
_partial_index("executions_open", "ended_ms IS NULL", executions.c.function)
_partial_index("executions_expiring", "expires_ms IS NOT NULL", executions.c.expires_ms)

events = Table(
    "events",
    metadata,
    _bucket(),
    _text("execution_id", primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    _number("first_event_id"),
    _number("event_count"),
    Column("body", _Bytes(), nullable=False),
    sqlite_with_rowid=False,
)

# Executions whose row is gone already, and whose records and payloads are still to be deleted.
deleted_executions = Table(
    "deleted_executions",
    metadata,
    _bucket(),
    _text("execution_id", primary_key=True),
    sqlite_with_rowid=False,
)

# Large texts, once for each execution however often its records refer to them. With rowid: a SQLite
# table clustered by its key would store them in every level of its tree.
payloads = Table(
    "payloads",
    metadata,
    _bucket(),
    _text("execution_id", primary_key=True),
    Column("digest", _Bytes(), primary_key=True, nullable=False),
    Column("body", _Bytes(), nullable=False),
)

timers = Table(
    "timers",
    metadata,
    _bucket(),
    _text("execution_id", primary_key=True),
    _number("due_ms"),
    sqlite_with_rowid=False,
)
Index("timers_due", timers.c.due_ms, timers.c.bucket, timers.c.execution_id)

outbox = Table(
    "outbox",
    metadata,
    _bucket(),
    _text("outbox_id", primary_key=True),
    Column("body", _Bytes(), nullable=False),
    sqlite_with_rowid=False,
)

# Undelivered status-change events, whether their executions still exist or not.
status_events = Table(
    "status_events",
    metadata,
    _bucket(),
    _text("execution_id", primary_key=True),
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    _number("at_ms"),
    _text("namespace"),
    _text("function"),
    _text("name"),
    _text("status"),
    _number("started_ms"),
    _number("ended_ms", nullable=True),
    sqlite_with_rowid=False,
)
Index(
    "status_events_by_time",
    status_events.c.at_ms,
    status_events.c.bucket,
    status_events.c.execution_id,
    status_events.c.event_id,
)

functions = Table(
    "functions",
    metadata,
    _text("namespace", primary_key=True),
    _text("name", primary_key=True),
    _number("execution_timeout_s"),
    _number("retention_days"),
    Column("durable", Boolean, nullable=False),
    Column("tenant_isolation", Boolean, nullable=False, server_default=false()),
    sqlite_with_rowid=False,
)

# Shared by the nodes of a cluster: the secret, whose row is also the lock for joining.
cluster = Table(
    "cluster",
    metadata,
    _text("key", primary_key=True),
    Column("value", _Bytes(), nullable=False),
    sqlite_with_rowid=False,
)
