"""Log lines of hosted handlers: JSON as Lambda's runtime writes it, or plain text.

Fields and their order are those of Lambda's JSON format (developer guide, advanced logging
controls). What is printed becomes such a line too, with the logger `stdout`.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, cast

from perdure_core.text import cut_chars

# CloudWatch takes no longer ones; a log that grows without a bound is no log.
LINE_CHARS_MAX: Final = 262_144

PRINTED: Final = "stdout"

# Attributes of every record, and those that the lines carry under other names.
_OF_RECORDS: Final = frozenset(
    {
        *vars(logging.LogRecord("", 0, "", 0, "", (), None)),
        *("message", "asctime", "taskName"),
    }
)


class LineFormat(StrEnum):
    """For whom lines are written."""

    TEXT = "text"
    JSON = "json"


class LogFormatter:
    """Makes lines of one function."""

    def __init__(self, line_format: LineFormat, function: str) -> None:
        self._json = line_format is LineFormat.JSON
        self._function = function

    def of_record(self, record: logging.LogRecord, request_id: str, tenant_id: str | None) -> str:
        """Return the line for a record of a logger."""
        if self._json:
            return self._encoded(self._fields(record, request_id, tenant_id))
        extra = [f"{name}={_printable(value)}" for name, value in _extra(record).items()]
        text = " ".join([_message(record), *extra])
        if record.exc_info and record.exc_info[0] is not None:
            text = f"{text}\n{''.join(traceback.format_exception(*record.exc_info)).rstrip()}"
        return self._text(_moment(record.created), record.levelname, request_id, text)

    def plain(
        self, text: str, request_id: str, now_s: float, level: str = "INFO", logger: str = PRINTED
    ) -> str:
        """Return the line for printed text, or for a message of the worker itself.

        With JSON lines, a printed one that is a JSON object already stays as it is, as on Lambda.
        """
        moment = _moment(now_s)
        if not self._json:
            return self._text(moment, level, request_id, text)
        if logger == PRINTED and _is_object(text):
            return text
        fields: dict[str, object] = {
            "timestamp": moment,
            "level": level,
            "message": text,
            "logger": logger,
            "functionName": self._function,
        }
        if request_id:
            fields["requestId"] = request_id
        return self._encoded(fields)

    def _fields(
        self, record: logging.LogRecord, request_id: str, tenant_id: str | None
    ) -> dict[str, object]:
        logged: object = cast("object", record.msg)
        message = cast("object", logged) if isinstance(logged, dict) and not record.args else None
        fields: dict[str, object] = {
            "timestamp": _moment(record.created),
            "level": record.levelname,
            "message": _message(record) if message is None else message,
            "logger": record.name,
            **_failure(record),
            "requestId": request_id or None,
            "tenantId": tenant_id,
            "functionName": self._function,
        }
        for name, value in _extra(record).items():
            fields[f"{name}_" if name in fields else name] = value
        return {name: value for name, value in fields.items() if value is not None}

    def _text(self, moment: str, level: str, request_id: str, text: str) -> str:
        line = f"{moment} {level:<7} {self._function} {request_id or '-'} {text}"
        return cut_chars(line, LINE_CHARS_MAX)

    def _encoded(self, fields: dict[str, object]) -> str:
        line = _encode(fields)
        if len(line) <= LINE_CHARS_MAX:
            return line
        # A line that was cut would not be JSON: only the fields that identify its source remain.
        identifying = ("timestamp", "level", "logger", "requestId", "functionName")
        room = LINE_CHARS_MAX // 8
        short = {name: fields[name] for name in identifying if name in fields}
        return _encode({**short, "message": f"{str(fields['message'])[:room]}…"})


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {str(name): value for name, value in vars(record).items() if name not in _OF_RECORDS}


def _message(record: logging.LogRecord) -> str:
    """Return the message; beside its arguments where these do not fit it."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a line is not worth an invocation
        args = record.args if isinstance(record.args, tuple) else (record.args,)
        return " ".join(map(_printable, (record.msg, *args)))


def _printable(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever __str__ raises
        return f"<{type(value).__qualname__}>"


def _is_object(text: str) -> bool:
    if not text.lstrip().startswith("{") or len(text) > LINE_CHARS_MAX:
        return False
    try:
        return isinstance(json.loads(text, parse_constant=_refuse_constant), dict)
    except (ValueError, RecursionError):
        return False


def _refuse_constant(name: str) -> None:
    """Refuse NaN and infinities, which Python reads and JSON lacks."""
    raise ValueError(name)


def _failure(record: logging.LogRecord) -> dict[str, object]:
    if not record.exc_info or record.exc_info[0] is None:
        return {}
    kind, error, trace = record.exc_info
    return {
        "stackTrace": traceback.format_tb(trace),
        "errorType": kind.__name__,
        "errorMessage": _printable(error),
        "location": f"{record.pathname}:{record.funcName}:{record.lineno}",
    }


def _encode(fields: dict[str, object]) -> str:
    try:
        text = json.dumps(fields, ensure_ascii=False, default=_printable, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # Keys that are no texts, numbers that JSON lacks, or a value that contains itself.
        printable: dict[str, Any] = {name: _printable(value) for name, value in fields.items()}
        text = json.dumps(printable, ensure_ascii=False)
    return text.encode(errors="replace").decode()


def _moment(time_s: float) -> str:
    moment = datetime.fromtimestamp(time_s, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1_000:03}Z"
