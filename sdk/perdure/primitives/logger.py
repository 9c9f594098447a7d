"""Replay-aware logger: each record is emitted once, although the handler is replayed.

Records made while the context that owns the logger is replaying are dropped. The others carry
`executionArn`, and where they apply `parentId`, `operationName`, `attempt` and `operationId`, as in
the AWS Lambda durable execution SDK for Python 3.0 (logger). `print` and other loggers are not
filtered; a context variable tells workers the same fields for the records of other loggers.

Must stay true: a record that cannot be made never fails what logs it.
"""

import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, TypedDict, TypeVar, Unpack

from perdure.primitives.operation_contexts import LoggerInterface

__all__ = ["Logger", "log_extra"]

T = TypeVar("T")

# Records name the line that logged: past `_emit`, `_log` and the method which was called.
_STACK_LEVEL = 4

# What `logging` itself puts into a record; it raises `KeyError` for extra fields of these names.
_RECORD_FIELDS: Final = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime"}
)

_lost = logging.getLogger("perdure")

_fields: ContextVar[Mapping[str, object] | None] = ContextVar("perdure_log_fields", default=None)


class LogOptions(TypedDict, total=False):
    """What a logger of `logging` takes beside the message and `extra`."""

    exc_info: object
    stack_info: bool
    stacklevel: int


def set_log_fields(fields: Mapping[str, object]) -> None:
    """Set the fields of the body that runs with these context variables."""
    _fields.set(fields)


def with_log_fields(fields: Mapping[str, object], body: Callable[[], T]) -> Callable[[], T]:
    """Return `body`, which sets its fields first."""

    def call() -> T:
        set_log_fields(fields)
        return body()

    return call


def current_log_fields() -> Mapping[str, object]:
    """Return the fields of the body that runs here: those of `log_extra`; none outside of one."""
    return _fields.get() or {}


def log_extra(
    execution_arn: str,
    *,
    parent_id: str | None = None,
    operation_name: str | None = None,
    attempt: int | None = None,
    operation_id: str | None = None,
) -> dict[str, object]:
    """Return the extra fields of a record, without those that are None."""
    fields = {
        "executionArn": execution_arn,
        "parentId": parent_id,
        "operationName": operation_name,
        "attempt": attempt,
        "operationId": operation_id,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _never() -> bool:
    return False


class Logger:
    """Passes records on to an underlying logger, unless its context is replaying.

    Its methods take what those of `logging` take. Extra fields that `logging` refuses, since its
    records have attributes of the same name, get an underscore at the end. A record that the
    underlying logger cannot make is reported to the logger `perdure`; nothing is raised.
    """

    def __init__(
        self,
        logger: LoggerInterface,
        default_extra: Mapping[str, object],
        is_replaying: Callable[[], bool] = _never,
    ) -> None:
        self._logger = logger
        self._extra = dict(default_extra)
        self._is_replaying = is_replaying

    def get_logger(self) -> LoggerInterface:
        """Return the underlying logger."""
        return self._logger

    def debug(
        self,
        msg: object,
        *args: object,
        extra: Mapping[str, object] | None = None,
        **options: Unpack[LogOptions],
    ) -> None:
        """Log at level DEBUG."""
        self._emit("debug", msg, args, extra, options)

    def info(
        self,
        msg: object,
        *args: object,
        extra: Mapping[str, object] | None = None,
        **options: Unpack[LogOptions],
    ) -> None:
        """Log at level INFO."""
        self._emit("info", msg, args, extra, options)

    def warning(
        self,
        msg: object,
        *args: object,
        extra: Mapping[str, object] | None = None,
        **options: Unpack[LogOptions],
    ) -> None:
        """Log at level WARNING."""
        self._emit("warning", msg, args, extra, options)

    def error(
        self,
        msg: object,
        *args: object,
        extra: Mapping[str, object] | None = None,
        **options: Unpack[LogOptions],
    ) -> None:
        """Log at level ERROR."""
        self._emit("error", msg, args, extra, options)

    def exception(
        self,
        msg: object,
        *args: object,
        extra: Mapping[str, object] | None = None,
        **options: Unpack[LogOptions],
    ) -> None:
        """Log at level ERROR, with the exception that is being handled, if there is one."""
        self._emit("exception", msg, args, extra, {"exc_info": True, **options})

    def _emit(
        self,
        level: str,
        msg: object,
        args: tuple[object, ...],
        extra: Mapping[str, object] | None,
        options: LogOptions,
    ) -> None:
        if self._is_replaying():
            return
        try:
            self._log(level, msg, args, {**self._extra, **(extra or {})}, dict(options))
        except Exception as error:  # noqa: BLE001 - a log line is not worth an execution
            with suppress(Exception):
                _lost.warning("a log record was lost: %r (%s)", msg, _described(error))

    def _log(
        self,
        level: str,
        msg: object,
        args: tuple[object, ...],
        fields: dict[str, object],
        options: dict[str, Any],
    ) -> None:
        if options.get("exc_info") is True and sys.exc_info()[0] is None:
            options["exc_info"] = False  # `logging` would write "NoneType: None"
        log: Callable[..., Any] = getattr(self._logger, level)
        if isinstance(self._logger, logging.Logger):
            options["stacklevel"] = _STACK_LEVEL + options.get("stacklevel", 1) - 1
            log(msg, *args, extra=_without_collisions(fields), **options)
        elif level == "exception" and options == {"exc_info": True}:
            log(msg, *args, extra=fields)  # the method implies it
        else:
            log(msg, *args, extra=fields, **_accepted(log, options))


def _without_collisions(fields: dict[str, object]) -> dict[str, object]:
    if _RECORD_FIELDS.isdisjoint(fields):
        return fields
    return {f"{name}_" if name in _RECORD_FIELDS else name: fields[name] for name in fields}


def _accepted(log: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return those of `options` that `log` takes: `LoggerInterface` asks for none of them."""
    try:
        parameters = inspect.signature(log).parameters
    except (TypeError, ValueError):
        return options
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return options
    return {name: value for name, value in options.items() if name in parameters}


def _described(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - whatever __str__ raises
        return type(error).__name__
