"""Sampling: one decision for all spans of an invocation, so that no trace is incomplete.

The decision of the trace header counts; without one, the sampler of the provider decides, once in
each invocation and for the whole trace. Samplers that use the trace id, as those by ratio do,
decide equally in every process.
"""

import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from perdure.otel.extractors import ExtractedContext, Sampling

_DECIDED: Final = contexts.create_key("perdure-otel-sampling")

_installing: Final = threading.Lock()


def decided(parent: Context, result: SamplingResult) -> Context:
    """Return a context that carries the sampling decision for spans started in it."""
    return contexts.set_value(_DECIDED, result, parent)


def resolve(
    extracted: ExtractedContext | None,
    sampler: Sampler,
    trace_id: int,
    name: str,
    attributes: Attributes,
) -> SamplingResult:
    """Return the sampling decision for an execution's trace."""
    match Sampling.UNDECIDED if extracted is None else extracted.sampling:
        case Sampling.SAMPLED:
            return SamplingResult(Decision.RECORD_AND_SAMPLE)
        case Sampling.NOT_SAMPLED:
            return SamplingResult(Decision.DROP)
        case Sampling.UNDECIDED:
            return sampler.should_sample(
                Context(), trace_id, name, SpanKind.INTERNAL, attributes, ()
            )


class ExecutionSampler(Sampler):
    """Returns the decision in the context; for other spans, that of the previous sampler."""

    def __init__(self, previous: Sampler) -> None:
        self.previous = previous

    @classmethod
    def install_on_tracer(cls, tracer: Tracer) -> "ExecutionSampler":
        """Return the sampler of a tracer, installed once in front of its previous one."""
        with _installing:
            present = tracer.sampler
            if isinstance(present, cls):
                return present
            sampler = cls(present)
            tracer.sampler = sampler
            return sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,  # noqa: ARG002 - part of the interface, never passed
    ) -> SamplingResult:
        """Return the decision, with the attributes of the span."""
        result = contexts.get_value(_DECIDED, parent_context)
        if not isinstance(result, SamplingResult):
            return self.previous.should_sample(
                parent_context, trace_id, name, kind, attributes, links
            )
        both = {**(attributes or {}), **result.attributes}  # pyright: ignore[reportUnknownMemberType] - untyped there
        return SamplingResult(result.decision, both, result.trace_state)

    def get_description(self) -> str:
        """Return the names of both samplers."""
        return f"ExecutionSampler{{{self.previous.get_description()}}}"
