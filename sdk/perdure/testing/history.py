"""Histories as documents: the API's JSON events, from the testing kit and from live servers alike.

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
    """Why something failed, as events tell it."""

    error_type: str | None = None
    error_message: str | None = None
    error_data: str | None = None
    stack_trace: tuple[str, ...] = ()


class RetryDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which attempt an event closes, and when the next one begins; None: it was the last."""

    current_attempt: int = 0
    next_attempt_delay_ms: int | None = None


class HistoryEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact in a history. The fields below `sub_type` stand where the event type asks for them.

    `replay_children`: the result was too large to keep, and is made again from the context's
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
    """All events of one execution, oldest first, and whose they are."""

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
            raise DurableFunctionsTestError(f"This is no exported history: {error}") from error

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
            f"This is no exported history: its format is {head.format!r}, not {FORMAT!r}."
        )
    if head.version != VERSION:
        raise DurableFunctionsTestError(
            f"This history has version {head.version}; this perdure reads version {VERSION}."
        )
