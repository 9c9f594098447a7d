"""Trace ids on log records, so that a backend finds the lines of a span.

A context variable holds the invocation that a record belongs to; branches, tasks and bodies of
steps inherit it. A thread that a handler starts by itself does not, and its records stay unchanged,
rather than carry the trace of another invocation.
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
    """The span around an invocation's handler, and the one that log records have instead."""

    around: SpanContext
    invocation: SpanContext


_correlation: ContextVar[_Correlation | None] = ContextVar("perdure_otel_log", default=None)


def correlate(invocation: SpanContext) -> None:
    """Add the trace ids of an invocation to later records, unless a span inside it is current."""
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

    It drops no record, and does not change records made outside of invocations.
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
    """Add one filter to all handlers of a logger (by default the root) that have none yet.

    Handlers receive the records of all loggers below, which a filter of the logger would not.
    Returns the filter; None if there is no handler.
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
