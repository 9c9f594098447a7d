"""Ids of traces and spans, derived so that all invocations of an execution form one trace.

Nothing about spans is recorded: the ARN of an execution, its start and the id of an operation are
enough to compute the ids of their trace and spans. The derivations are those of the OpenTelemetry
package of the AWS SDK, version 2.0.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Final

from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

_SPAN_ID_BYTES: Final = 8
_TRACE_ID_HASH_BYTES: Final = 12  # after four bytes of the time, as X-Ray requires

_installing: Final = threading.Lock()


def derive_trace_id(execution_arn: str, started: datetime) -> int:
    """Return the id of an execution's trace: the second of its start, then a hash of its ARN."""
    tail = _digest(execution_arn)[:_TRACE_ID_HASH_BYTES]
    return int(started.timestamp()) << (8 * _TRACE_ID_HASH_BYTES) | int.from_bytes(tail)


def derive_workflow_span_id(durable_execution_arn: str) -> int:
    """Return the id of the span of a whole execution. Raises `ValueError` for an empty ARN."""
    return _span_id("workflow", durable_execution_arn)


def derive_execution_root_span_id(durable_execution_arn: str) -> int:
    """Return the id of the root span, used when the start had no trace to join.

    Raises `ValueError` for an empty ARN.
    """
    return _span_id("execution-root", durable_execution_arn)


def operation_id_to_span_id(durable_execution_arn: str, operation_id: str) -> int:
    """Return the id of the span of an operation."""
    return _hashed(f"{durable_execution_arn}:{operation_id}")


@dataclass(frozen=True)
class _Ids:
    trace_id: int | None = None
    span_id: int | None = None


class DeterministicIdGenerator(RandomIdGenerator):
    """Generates the ids that `use_ids` sets, and otherwise those of a fallback generator."""

    def __init__(self, fallback_id_generator: IdGenerator | None = None) -> None:
        self._fallback = fallback_id_generator or RandomIdGenerator()
        self._ids: ContextVar[_Ids] = ContextVar("perdure_otel_ids", default=_Ids())  # noqa: B039 - frozen

    @classmethod
    def install_on_tracer(cls, tracer: Tracer) -> "DeterministicIdGenerator":
        """Return the generator of a tracer, installed once in front of its previous one.

        Providers share one tracer among all callers that use its name, hence the lock. Tracers of
        other names keep their generator.
        """
        with _installing:
            present = tracer.id_generator
            if isinstance(present, cls):
                return present
            generator = cls(present)
            tracer.id_generator = generator
            return generator

    @contextmanager
    def use_ids(self, *, trace_id: int | None, span_id: int | None) -> Generator[None]:
        """Set the trace id of root spans and the id of the next span, on this thread or task."""
        token = self._ids.set(_Ids(trace_id, span_id))
        try:
            yield
        finally:
            self._ids.reset(token)

    def generate_trace_id(self) -> int:
        """Return the trace id that is set, or one of the fallback generator."""
        trace_id = self._ids.get().trace_id
        return self._fallback.generate_trace_id() if trace_id is None else trace_id

    def generate_span_id(self) -> int:
        """Return the span id that is set, once, or one of the fallback generator."""
        ids = self._ids.get()
        if ids.span_id is None:
            return self._fallback.generate_span_id()
        self._ids.set(replace(ids, span_id=None))
        return ids.span_id

    def is_trace_id_random(self) -> bool:
        """Return whether a trace id generated now would be random."""
        if self._ids.get().trace_id is not None:
            return False
        # Generators written for an SDK before 1.40 lack this method.
        is_random = getattr(self._fallback, "is_trace_id_random", None)
        return bool(is_random()) if callable(is_random) else False


def _span_id(purpose: str, execution_arn: str) -> int:
    if not execution_arn:
        raise ValueError(
            f"execution ARN must not be empty: the id of the {purpose} span is derived from it."
        )
    return _hashed(f"{purpose}:{execution_arn}")


def _hashed(text: str) -> int:
    return int.from_bytes(_digest(text)[:_SPAN_ID_BYTES]) or 1  # zero is not a valid id


def _digest(text: str) -> bytes:
    return blake2b(text.encode()).digest()
