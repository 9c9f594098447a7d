"""One decision for all spans of an invocation, so that no trace has holes.

A header that says whether to record is obeyed; otherwise the sampler of the provider is asked, once
in each invocation and for the trace as a whole. Samplers that go by the trace id, as those by ratio
do, say the same in every process.
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
    """Return the context in which a span is recorded as decided before."""
    return contexts.set_value(_DECIDED, result, parent)


def resolve(
    extracted: ExtractedContext | None,
    sampler: Sampler,
    trace_id: int,
    name: str,
    attributes: Attributes,
) -> SamplingResult:
    """Decide about an execution's trace."""
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
    """Says what has been decided; about spans of others it asks the sampler behind it."""

    def __init__(self, behind: Sampler) -> None:
        self.behind = behind

    @classmethod
    def install_on_tracer(cls, tracer: Tracer) -> "ExecutionSampler":
        """Return the sampler of a tracer, put in front of the one it had, once."""
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
        trace_state: TraceState | None = None,  # noqa: ARG002 - named by the interface, never given
    ) -> SamplingResult:
        """Return what has been decided, with the attributes of the span."""
        result = contexts.get_value(_DECIDED, parent_context)
        if not isinstance(result, SamplingResult):
            return self.behind.should_sample(
                parent_context, trace_id, name, kind, attributes, links
            )
        both = {**(attributes or {}), **result.attributes}  # pyright: ignore[reportUnknownMemberType] - untyped there
        return SamplingResult(result.decision, both, result.trace_state)

    def get_description(self) -> str:
        """Name the sampler behind, too."""
        return f"ExecutionSampler{{{self.behind.get_description()}}}"
