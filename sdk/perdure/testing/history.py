"""Histories as JSON documents, from the testing kit and from servers.

`perdure executions export` writes one, `get_execution_history` returns one, `replay` reads one.
The events are the contract's `Event` messages as JSON, with the contract's names; fields that a
newer server adds are ignored. A change that older readers would misread takes a new version.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from perdure.testing.failures import DurableFunctionsTestError

FORMAT: Final = "perdure-history"
VERSION: Final = 1


class HistoryError(msgspec.Struct, frozen=True, omit_defaults=True):
    """The error of an event."""

    error_type: str | None = None
    error_message: str | None = None
    error_data: str | None = None
    stack_trace: tuple[str, ...] = ()


class RetryDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The attempt that an event ends, and the delay of the next one; None: it was the last."""

    current_attempt: int = 0
    next_attempt_delay_ms: int | None = None


class HistoryEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event of a history. Fields below `sub_type` are set for the event types that have them.

    `replay_children`: the result was too large to record, and is rebuilt from the context's
    children.
    """

    event_id: int
    event_type: str
    event_timestamp: datetime
    id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None
    input: str | None = None
    result: str | None = None
    error: HistoryError | None = None
    truncated: bool = False
    retry_details: RetryDetails | None = None
    duration_ms: int | None = None
    scheduled_end_timestamp: datetime | None = None
    callback_id: str | None = None
    timeout_seconds: int = 0
    heartbeat_timeout_seconds: int = 0
    execution_timeout_seconds: int | None = None
    function_name: str | None = None
    execution_arn: str | None = None
    invocation_start_timestamp: datetime | None = None
    request_id: str | None = None
    reason: str | None = None
    execution_timeout_paused: bool | None = None
    diverged: bool = False
    request_timestamp: datetime | None = None
    tenant_id: str | None = None
    replay_children: bool = False


class ExecutionHistory(msgspec.Struct, frozen=True, kw_only=True):
    """All events of one execution, oldest first."""

    execution_arn: str
    function_name: str
    status: str
    events: tuple[HistoryEvent, ...]
    format: str = FORMAT
    version: int = VERSION

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a document. Raises `DurableFunctionsTestError` for anything else."""
        try:
            document: Any = msgspec.json.decode(text)
            _check_head(document)
            # Numbers of 64 bits are text in the JSON of protobuf; `strict=False` reads both.
            return msgspec.convert(document, cls, strict=False)
        except msgspec.MsgspecError as error:
            raise DurableFunctionsTestError(f"not an exported history: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a document from a file."""
        return cls.from_json(Path(path).read_bytes())

    def to_json(self) -> str:
        """Return the document as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    def save(self, path: str | Path) -> None:
        """Write the document to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")


class _Head(msgspec.Struct):
    format: str
    version: int


def _check_head(document: object) -> None:
    head = msgspec.convert(document, _Head)
    if head.format != FORMAT:
        raise DurableFunctionsTestError(
            f"format of an exported history must be {FORMAT!r}, got {head.format!r}."
        )
    if head.version != VERSION:
        raise DurableFunctionsTestError(
            f"version of an exported history must be {VERSION}, got {head.version}."
        )
