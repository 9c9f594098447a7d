"""Replay-aware logger: each record is emitted once, although the handler is replayed.

Records made while the context that owns the logger is replaying are dropped. The others carry
`executionArn`, and where they apply `parentId`, `operationName`, `attempt` and `operationId`, as in
the AWS Lambda durable execution SDK for Python 3.0 (logger). `print` and other loggers are not
filtered.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from perdure.primitives.operation_contexts import LoggerInterface

__all__ = ["Logger", "log_extra"]

# Records name the line that logged: past `_emit` and the method which was called.
_STACK_LEVEL = 3


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
    """Passes records on to an underlying logger, unless its context is replaying."""

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

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at level DEBUG."""
        self._emit(self._logger.debug, msg, args, extra)

    def info(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at level INFO."""
        self._emit(self._logger.info, msg, args, extra)

    def warning(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Log at level WARNING."""
        self._emit(self._logger.warning, msg, args, extra)

    def error(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at level ERROR."""
        self._emit(self._logger.error, msg, args, extra)

    def exception(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Log at level ERROR, with the exception that is being handled."""
        self._emit(self._logger.exception, msg, args, extra)

    def _emit(
        self,
        log: Callable[..., Any],
        msg: object,
        args: tuple[object, ...],
        extra: Mapping[str, object] | None,
    ) -> None:
        if self._is_replaying():
            return
        fields = {**self._extra, **(extra or {})}
        if isinstance(self._logger, logging.Logger):
            log(msg, *args, extra=fields, stacklevel=_STACK_LEVEL)
        else:
            log(msg, *args, extra=fields)
