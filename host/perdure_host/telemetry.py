"""Log of a server or a worker: lines for people, or lines of JSON for programs.

Everything goes to standard error, including the logs of libraries, so that standard output is for
results only. Secrets, payloads and tokens are never logged; ids and names are.

Must stay true: a record that cannot be rendered as it is (its arguments do not fit its message, or
an extra field does not print) is rendered as text; it is neither lost nor raised to the program.
A traceback holds lines of code and messages, never the values of variables.
"""

import logging
import secrets
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TextIO, cast

import structlog

from perdure_host.terminal_text import visible

LogFormat = Literal["text", "json"]

# They log every request and every run at INFO; the metrics show that better.
_CHATTY: Final = ("uvicorn.access", "uvicorn.error", "grpc", "asyncio", "alembic")

# What `logging` itself puts into a record; everything else is an extra field.
_RECORD_FIELDS: Final = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName"}
)
# Keys of lines that mean something else than an extra field of that name.
_LINE_FIELDS: Final = frozenset(
    {
        *("event", "level", "logger", "timestamp", "exc_info", "exception", "stack", "stack_info"),
        *("_record", "_from_structlog"),
    }
)

_SHARED: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


Fields = Callable[[], Mapping[str, object]]


def _no_fields() -> Mapping[str, object]:
    return {}


def configure_logging(
    log_format: LogFormat, *, stream: TextIO | None = None, fields: Fields = _no_fields
) -> None:
    """Send all logs of the process to `stream` (default: standard error). Call it once, early.

    `fields` returns what lines of libraries and users carry beside their own extra fields; it is
    called where a record is made.
    """
    target = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[_extra_adder(fields), *_SHARED],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(log_format, target),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns of each connection that broke; the node logs the outage.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    # It warns of every request that is no HTTP: strangers could fill the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def open_log(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one part of the program: `log.info("an event", key=value)`."""
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return log


def report_incident(log: structlog.stdlib.BoundLogger, error: Exception) -> str:
    """Log an unexpected error with its traceback; return the id to find it by."""
    incident = secrets.token_hex(6)
    log.error("unexpected error", incident=incident, exc_info=error)
    return incident


def new_request_id() -> str:
    """Return a new request id, a UUID."""
    return str(uuid.uuid4())


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Renders a record as text when it cannot be rendered as it is."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        try:
            return super().format(record)
        except Exception:  # noqa: BLE001 - an argument or a field may raise anything
            return super().format(_as_text(record))


def _as_text(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record with the same fields, of which each is text."""
    line: object = cast("object", record.msg)
    if isinstance(line, dict):  # structlog's own: the values of the line
        text = logging.makeLogRecord(vars(record))
        text.msg = {
            name: value if isinstance(value, str) else _printable(value, repr)
            for name, value in cast("dict[str, object]", line).items()
            if name != "exc_info"
        }
        return text
    text = logging.makeLogRecord(
        {name: value for name, value in vars(record).items() if name in _RECORD_FIELDS}
    )
    trace = traceback.format_exception(*record.exc_info) if record.exc_info else []
    text.msg, text.args = "\n".join([_message(record), *trace]).rstrip(), ()
    text.exc_info = None
    for name, value in _extra_of(record).items():
        if not name.startswith("_"):  # structlog's own
            setattr(text, name, _printable(value, repr))
    return text


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - the arguments do not fit, or raise
        printed = [_printable(record.msg, str)]
        args = record.args if isinstance(record.args, tuple) else (record.args,)
        printed += [_printable(each, repr) for each in args]
        return " ".join(printed)


def _printable(value: object, show: Callable[[object], str]) -> str:
    try:
        return show(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ must not lose the line
        return f"<{type(value).__qualname__}>"


def _extra_of(record: logging.LogRecord) -> dict[str, Any]:
    return {str(name): value for name, value in vars(record).items() if name not in _RECORD_FIELDS}


def _extra_adder(fields: Fields) -> structlog.typing.Processor:
    """Return the processor that adds `fields`, and the extra fields of a record, to its line."""

    def add(
        _logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        record = line["_record"]
        for name, value in {**fields(), **_extra_of(record)}.items():
            line[f"{name}_" if name in _LINE_FIELDS else name] = value
        return line

    return add


def _renderers(log_format: LogFormat, target: TextIO) -> list[structlog.typing.Processor]:
    if log_format == "json":
        return [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(allow_nan=False),
        ]
    # structlog prefers rich, which prints the local variables of every frame: tokens and payloads.
    return [
        _make_visible,
        structlog.dev.ConsoleRenderer(
            colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _make_visible(
    _logger: structlog.typing.WrappedLogger, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep what users wrote from driving the terminal; other values are shown by their repr."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = visible(value)
    return line
