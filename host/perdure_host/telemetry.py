"""Log of a server or a worker: lines for people, or lines of JSON for programs.

Everything goes to standard error, including the logs of libraries, so that standard output is for
results only. Secrets, payloads and tokens are never logged; ids and names are.
"""

import logging
import secrets
import sys
import uuid
from typing import Final, Literal, TextIO

import structlog

LogFormat = Literal["text", "json"]

# They log every request and every run at INFO; the metrics show that better.
_CHATTY: Final = ("apscheduler", "uvicorn.access", "uvicorn.error", "grpc", "asyncio", "alembic")

_SHARED: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logging(log_format: LogFormat, *, stream: TextIO | None = None) -> None:
    """Send all logs of the process to `stream` (default: standard error). Call it once, early."""
    target = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
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


def _renderers(log_format: LogFormat, target: TextIO) -> list[structlog.typing.Processor]:
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=target.isatty())]
