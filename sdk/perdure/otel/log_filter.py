"""Trace ids on log records, so that a backend finds the lines of a span.

Which invocation a record belongs to is told by a context variable, which reaches whatever the
handler starts in its name: branches, tasks, bodies of steps. A thread that a handler starts by
itself has no part in it, and its records stay as they are, rather than carry another's trace.
"""

import logging
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import SpanContext

_installing: Final = threading.Lock()


@dataclass(frozen=True)
class _Correlation:
    """The span around an invocation's handler, and the one that its own records name instead."""

    around: SpanContext
    invocation: SpanContext


_correlation: ContextVar[_Correlation | None] = ContextVar("perdure_otel_log", default=None)


def correlate(invocation: SpanContext) -> None:
    """Have records from here on name an invocation, unless a span in it is current."""
    _correlation.set(_Correlation(trace.get_current_span().get_span_context(), invocation))


def current_span_context() -> SpanContext | None:
    """Return the span that a record made here belongs to; None outside of invocations."""
    correlation = _correlation.get()
    if correlation is None:
        return None
    current = trace.get_current_span().get_span_context()
    if not current.is_valid or current == correlation.around:
        return correlation.invocation
    return current


class OtelContextLogFilter(logging.Filter):
    """Adds `traceId`, `spanId` (hexadecimal) and `otelTraceSampled` to records of invocations.

    It drops no record, and leaves those alone that no invocation made.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids; return True."""
        span = current_span_context()
        if span is not None:
            record.traceId = trace.format_trace_id(span.trace_id)
            record.spanId = trace.format_span_id(span.span_id)
            record.otelTraceSampled = span.trace_flags.sampled
        return True


def install_log_filter(target_logger: logging.Logger | None = None) -> OtelContextLogFilter | None:
    """Give all handlers of a logger (by default the root) one filter, if they have none yet.

    A handler sees the records of all loggers below, a filter on the logger would not. Returns the
    filter; None if there is no handler.
    """
    logger = logging.getLogger() if target_logger is None else target_logger
    with _installing:
        present = {handler: _filter_of(handler) for handler in logger.handlers}
        found = next((each for each in present.values() if each is not None), None)
        if found is None and present:
            found = OtelContextLogFilter()
        for handler, own in present.items():
            if own is None and found is not None:
                handler.addFilter(found)
        return found


def _filter_of(handler: logging.Handler) -> OtelContextLogFilter | None:
    return next((each for each in handler.filters if isinstance(each, OtelContextLogFilter)), None)
