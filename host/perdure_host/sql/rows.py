"""Rows as they are read: every column is checked, because what is stored can be damaged.

SQLite keeps a text in a column of integers, and bytes in a column of texts, if a flipped bit says
so; and no database knows what a column means. A row whose columns are not what was ever written is
unreadable: a caller that needs it gets the reason, and pages leave it out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

from perdure_core.limits import BUCKETS, EXECUTION_TIMEOUT_S_MAX, RETENTION_DAYS_MAX
from perdure_host.errors import Unreadable
from perdure_host.ports import (
    Alarm,
    ExecutionKey,
    ExecutionRow,
    FunctionRow,
    OutboxRow,
    RecordRow,
    StatusEventRow,
    UnreadableKind,
    UnreadableRow,
    WaitingFor,
)
from perdure_host.sql.batch import execution_of, status_event_of

_PLACE_CHARS_MAX: Final = 200
# How many columns, from the first on, make the place of a row.
_KEY_COLUMNS: Final[Mapping[UnreadableKind, int]] = {
    "execution": 2,
    "alarm": 3,
    "outbox": 2,
    "status_event": 3,
    "function": 2,
}

# The last moment of the year 9999, which is the last that a timestamp can hold.
TIME_MS_MAX: Final = 253_402_300_799_999

_Bucket = Annotated[int, msgspec.Meta(ge=0, lt=BUCKETS)]
_Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
_OutboxId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}-[0-9a-f-]+$")]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Execution(msgspec.Struct, array_like=True):
    bucket: _Bucket
    execution_id: _Id
    namespace: str
    function: str
    name: str
    status: str
    started_ms: _Ms
    input_digest: bytes
    sequence: _Count
    event_count: _Count
    waiting_for: WaitingFor
    ended_ms: _Ms | None
    expires_ms: _Ms | None


class _Record(msgspec.Struct, array_like=True):
    sequence: _Count
    first_event_id: _Count
    event_count: _Count
    body: bytes


class _Alarm(msgspec.Struct, array_like=True):
    due_ms: _Ms
    bucket: _Bucket
    execution_id: _Id


class _Outbox(msgspec.Struct, array_like=True):
    bucket: _Bucket
    outbox_id: _OutboxId
    body: bytes


class _StatusEvent(msgspec.Struct, array_like=True):
    bucket: _Bucket
    execution_id: _Id
    event_id: _Count
    at_ms: _Ms
    namespace: str
    function: str
    name: str
    status: str
    started_ms: _Ms
    ended_ms: _Ms | None


class _Function(msgspec.Struct, array_like=True):
    namespace: str
    name: str
    execution_timeout_s: Annotated[int, msgspec.Meta(ge=1, le=EXECUTION_TIMEOUT_S_MAX)]
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=RETENTION_DAYS_MAX)]
    durable: bool
    tenant_isolation: bool


Columns = Sequence[Any]
_Row = TypeVar("_Row")


def read_execution(columns: Columns) -> ExecutionRow:
    """Return the row of an execution. Raises Unreadable."""
    _check(columns, _Execution)
    return execution_of(columns)


def read_key(columns: Columns) -> ExecutionKey:
    """Return the key of an execution. Raises Unreadable."""
    bucket, execution_id = columns
    _check((0, bucket, execution_id), _Alarm)
    return ExecutionKey(bucket, execution_id)


def read_record(columns: Columns) -> RecordRow:
    """Return one record. Raises Unreadable."""
    _check(columns, _Record)
    return RecordRow(*columns)


def read_alarm(columns: Columns) -> Alarm:
    """Return one alarm. Raises Unreadable."""
    _check(columns, _Alarm)
    due_ms, bucket, execution_id = columns
    return Alarm(due_ms, ExecutionKey(bucket, execution_id))


def read_outbox_row(columns: Columns) -> OutboxRow:
    """Return one delivery. Raises Unreadable."""
    _check(columns, _Outbox)
    return OutboxRow(*columns)


def read_status_event(columns: Columns) -> StatusEventRow:
    """Return one status-change event. Raises Unreadable."""
    _check(columns, _StatusEvent)
    return status_event_of(columns)


def read_function(columns: Columns) -> FunctionRow:
    """Return one function. Raises Unreadable."""
    _check(columns, _Function)
    return FunctionRow(**dict(zip(_Function.__struct_fields__, columns, strict=True)))


class Reading:
    """Rows of one page, and those that were left out."""

    def __init__(self) -> None:
        self.left_out: list[UnreadableRow] = []

    def readable(
        self, found: Sequence[Columns], kind: UnreadableKind, read: Callable[[Columns], _Row]
    ) -> list[_Row]:
        """Return the rows that can be read, and note the others."""
        rows: list[_Row] = []
        for columns in found:
            try:
                rows.append(read(columns))
            except Unreadable as error:
                self.left_out.append(_left_out(kind, columns, str(error)))
        return rows


def _left_out(kind: UnreadableKind, columns: Columns, reason: str) -> UnreadableRow:
    key = None
    if kind == "execution":
        try:
            key = read_key(columns[:2])
        except Unreadable:
            key = None
    place = " ".join(repr(column) for column in columns[: _KEY_COLUMNS[kind]])
    return UnreadableRow(
        kind, place.encode("ascii", "replace").decode()[:_PLACE_CHARS_MAX], reason, key
    )


def _check(columns: Columns, kind: type[msgspec.Struct]) -> None:
    """Raise Unreadable, naming the column, for a value that its column never holds."""
    try:
        msgspec.convert(tuple(columns), kind)
    except msgspec.ValidationError as error:
        raise Unreadable(_in_words(str(error), kind)) from None
    for name, column in zip(kind.__struct_fields__, columns, strict=True):
        if type(column) is str and not column.isascii():
            try:
                column.encode()
            except UnicodeEncodeError:
                raise Unreadable(f"the column {name} holds bytes that are no text") from None


def _in_words(message: str, kind: type[msgspec.Struct]) -> str:
    """Return the message of msgspec with the column's name in place of its number."""
    problem, _, path = message.partition(" - at `$[")
    number = path.partition("]")[0]
    if not number.isdigit():
        return message
    return f"the column {kind.__struct_fields__[int(number)]} is damaged: {problem}"
