"""Lines of the worker's log about what failed: attempts of steps, executions, replays that differ.

Each is one line, which names the function, the execution and the line of user code where the error
was raised. Errors are those that are recorded; payloads are never logged.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, assert_never

import msgspec

from perdure.worker_api import (
    Diverged,
    Errored,
    Failed,
    Lost,
    Outcome,
    Pending,
    Succeeded,
    format_duration,
    format_error,
    log_extra,
    one_line,
)
from perdure_core.model import (
    ErrorObject,
    Operation,
    OperationAction,
    OperationType,
    StepDetails,
)
from perdure_host.codec import error_from_message
from perdure_proto.v1 import worker_pb2

ERROR_CHARS_MAX: Final = 500
DIFFERENCE_CHARS_MAX: Final = 1_000

_log = logging.getLogger("perdure.worker")

_STEP: Final = OperationType.STEP.value
_ARN: Final = re.compile(r".*/durable-execution/([^/]+)/[^/]+")
_FRAME: Final = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')


class LogLine(msgspec.Struct, frozen=True):
    """One line: its level, its text, and the fields that it carries."""

    level: int
    text: str
    fields: Mapping[str, object]


def log_line(line: LogLine) -> None:
    """Write a line to the worker's log."""
    _log.log(line.level, "%s", line.text, extra=dict(line.fields))


def attempt_lines(
    function: str,
    execution_arn: str,
    updates: Sequence[worker_pb2.OperationUpdate],
    operations: Sequence[Operation],
) -> list[LogLine]:
    """Return a line for each attempt of a step that failed.

    `updates` were accepted, and `operations` are what they changed.
    """
    failed = {each.id: each for each in updates if each.type == _STEP and each.HasField("error")}
    changed = [each for each in operations if each.id in failed] if failed else []
    title = _title(function, execution_arn)
    return [_attempt_line(title, execution_arn, each, failed[each.id]) for each in changed]


def outcome_line(function: str, execution_arn: str, outcome: Outcome) -> LogLine | None:
    """Return the line of an invocation that did not end well; None of any other."""
    title = _title(function, execution_arn)
    match outcome:
        case Failed(error):
            level, text = logging.ERROR, f"{title} failed: {_described(error)}"
        case Errored(error):
            level = logging.WARNING
            text = f"{title}: the invocation failed and will run again: {_described(error)}"
        case Diverged(error):
            lines = [line.strip() for line in (error.message or "").splitlines()]
            difference = one_line(" | ".join(lines), DIFFERENCE_CHARS_MAX)
            level = logging.ERROR
            text = f"{title} is paused: a replay diverged from its history: {difference}"
        case Succeeded() | Pending() | Lost():
            return None
        case _:
            assert_never(outcome)
    return LogLine(level, text, log_extra(execution_arn))


def _attempt_line(
    title: str, execution_arn: str, operation: Operation, update: worker_pb2.OperationUpdate
) -> LogLine:
    assert isinstance(operation.details, StepDetails)
    attempt = operation.details.attempt
    what = repr(operation.name) if operation.name is not None else f"step {operation.id[:8]}"
    following = "it is not tried again"
    if update.action == OperationAction.RETRY:
        delay = timedelta(milliseconds=update.step_options.next_attempt_delay_ms)
        following = f"attempt {attempt + 1} follows in {format_duration(delay)}"
    error = _described(error_from_message(update.error))
    fields = log_extra(
        execution_arn,
        parent_id=operation.parent_id,
        operation_name=operation.name,
        attempt=attempt,
        operation_id=operation.id,
    )
    text = f"{title}: attempt {attempt} of {what} failed: {error}; {following}"
    return LogLine(logging.WARNING, text, fields)


def _title(function: str, execution_arn: str) -> str:
    name = _ARN.fullmatch(execution_arn)
    return f"{function} {execution_arn if name is None else name[1]!r}"


def _described(error: ErrorObject) -> str:
    described = one_line(format_error(error.type, error.message), ERROR_CHARS_MAX)
    place = _raised_at(error.stack_trace)
    return described if place is None else f"{described} ({place})"


def _raised_at(stack_trace: Sequence[str]) -> str | None:
    """Return the innermost frame, as file:line; what follows the frames are causes and notes."""
    place = None
    for entry in stack_trace:
        frame = _FRAME.match(entry)
        if frame is None:
            break
        place = f"{frame['file']}:{frame['line']}"
    return place
