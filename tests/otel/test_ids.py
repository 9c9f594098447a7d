"""Span ids: derived alike everywhere, and assigned to the right spans."""

import threading
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from perdure.otel import (
    DeterministicIdGenerator,
    derive_execution_root_span_id,
    derive_workflow_span_id,
    operation_id_to_span_id,
)
from perdure.otel.ids import derive_trace_id

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/e/i"
WORKFLOW = 0x64999D97D8973CDC
EXECUTION_ROOT = 0x93FA7B44D8E1D840
OPERATION = 0xF36F1C37DCA4522A
TRACE = 0x6955B900DE1C98F69089880EC67B6810


class Counting(IdGenerator):
    def generate_span_id(self) -> int:
        return 7

    def generate_trace_id(self) -> int:
        return 8


def test_ids_are_those_that_the_published_package_derives() -> None:
    """Recorded from aws-durable-execution-sdk-python-otel 2.0.0."""
    assert derive_workflow_span_id(ARN) == WORKFLOW
    assert derive_execution_root_span_id(ARN) == EXECUTION_ROOT
    assert operation_id_to_span_id(ARN, "op-1") == OPERATION
    assert derive_trace_id(ARN, datetime(2026, 1, 1, tzinfo=UTC)) == TRACE


@pytest.mark.parametrize("derive", [derive_workflow_span_id, derive_execution_root_span_id])
def test_an_empty_arn_is_refused(derive: object) -> None:
    assert callable(derive)
    with pytest.raises(ValueError, match="ARN"):
        derive("")


def test_set_ids_are_used_once_for_a_span_and_the_generator_behind_otherwise() -> None:
    ids = DeterministicIdGenerator(Counting())
    with ids.use_ids(trace_id=1, span_id=2):
        assert (ids.generate_trace_id(), ids.is_trace_id_random()) == (1, False)
        assert [ids.generate_span_id(), ids.generate_span_id()] == [2, 7]
    assert (ids.generate_trace_id(), ids.generate_span_id()) == (8, 7)
    assert not ids.is_trace_id_random()
    assert DeterministicIdGenerator().is_trace_id_random()


def test_set_ids_are_seen_on_their_own_thread_alone() -> None:
    ids = DeterministicIdGenerator(Counting())
    seen: list[int] = []
    with ids.use_ids(trace_id=None, span_id=2):
        other = threading.Thread(target=lambda: seen.append(ids.generate_span_id()))
        other.start()
        other.join()
        assert ids.generate_span_id() == 2
    assert seen == [7]


def test_a_tracer_gets_one_generator_and_others_keep_theirs() -> None:
    provider = TracerProvider(id_generator=Counting(), shutdown_on_exit=False)
    tracer, other = provider.get_tracer("one"), provider.get_tracer("two")
    assert isinstance(tracer, Tracer)
    assert isinstance(other, Tracer)
    ids = DeterministicIdGenerator.install_on_tracer(tracer)
    assert DeterministicIdGenerator.install_on_tracer(tracer) is ids
    assert tracer.id_generator is ids
    assert type(other.id_generator) is Counting
