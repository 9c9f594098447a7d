"""Ids that every process derives alike, so that all invocations of an execution make one trace.

Nothing about spans is recorded: whoever knows the ARN of an execution, its start and the id of an
operation knows the ids of their trace and spans. The derivations are those of the OpenTelemetry
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
_TRACE_ID_HASH_BYTES: Final = 12  # beside four bytes of the time, as X-Ray asks for

_installing: Final = threading.Lock()


def derive_trace_id(execution_arn: str, started: datetime) -> int:
    """Return the id of an execution's trace: the second of its start, then a hash of its ARN."""
    tail = _digest(execution_arn)[:_TRACE_ID_HASH_BYTES]
    return int(started.timestamp()) << (8 * _TRACE_ID_HASH_BYTES) | int.from_bytes(tail)


def derive_workflow_span_id(durable_execution_arn: str) -> int:
    """Return the id of the span of a whole execution. Raises `ValueError` for an empty ARN."""
    return _span_id("workflow", durable_execution_arn)


def derive_execution_root_span_id(durable_execution_arn: str) -> int:
    """Return the id of the span above all others, used when no caller gave a trace to join.

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
    """Generates the ids that `use_ids` sets, and otherwise those of a generator behind it."""

    def __init__(self, fallback_id_generator: IdGenerator | None = None) -> None:
        self._fallback = fallback_id_generator or RandomIdGenerator()
        self._ids: ContextVar[_Ids] = ContextVar("perdure_otel_ids", default=_Ids())  # noqa: B039 - frozen

    @classmethod
    def install_on_tracer(cls, tracer: Tracer) -> "DeterministicIdGenerator":
        """Return the generator of a tracer, put in front of the one it had, once.

        Providers share one tracer among all who ask for its name, hence threads may meet here.
        Tracers of other names keep their generator.
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
        """Within, on this thread or task: the trace id of root spans, the id of the next span."""
        token = self._ids.set(_Ids(trace_id, span_id))
        try:
            yield
        finally:
            self._ids.reset(token)

    def generate_trace_id(self) -> int:
        """Return the trace id that is set, or one of the generator behind."""
        trace_id = self._ids.get().trace_id
        return self._fallback.generate_trace_id() if trace_id is None else trace_id

    def generate_span_id(self) -> int:
        """Return the span id that is set, once, or one of the generator behind."""
        ids = self._ids.get()
        if ids.span_id is None:
            return self._fallback.generate_span_id()
        self._ids.set(replace(ids, span_id=None))
        return ids.span_id

    def is_trace_id_random(self) -> bool:
        """Tell whether a trace id generated now would be a random one."""
        if self._ids.get().trace_id is not None:
            return False
        # Generators written for an SDK before 1.40 do not tell.
        told = getattr(self._fallback, "is_trace_id_random", None)
        return bool(told()) if callable(told) else False


def _span_id(purpose: str, execution_arn: str) -> int:
    if not execution_arn:
        raise ValueError(f"The {purpose} span has its id from the execution's ARN, which is empty.")
    return _hashed(f"{purpose}:{execution_arn}")


def _hashed(text: str) -> int:
    return int.from_bytes(_digest(text)[:_SPAN_ID_BYTES]) or 1  # zero is no id


def _digest(text: str) -> bytes:
    return blake2b(text.encode()).digest()
