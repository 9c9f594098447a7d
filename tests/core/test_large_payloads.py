"""Large payloads: moved out of decisions, told apart by type, put back into what is read."""

from typing import get_args

import msgspec
import pytest

from perdure_core import limits
from perdure_core.commands import Complete, CompletionStatus
from perdure_core.decision import NOTHING, Delivery
from perdure_core.events import (
    Event,
    ExecutionFailed,
    OutcomeRecorded,
    Record,
    StepSucceeded,
    Subject,
    decode_record,
    encode_record,
)
from perdure_core.execution import decide
from perdure_core.fold import apply, fold
from perdure_core.large_payloads import (
    _FAILING,  # pyright: ignore[reportPrivateUsage]
    _FIELDS,  # pyright: ignore[reportPrivateUsage]
    ExternalPayloads,
    error_from,
    externalize,
    externalize_decision,
    inline,
    inline_operation,
    reference_in,
    references_in,
    references_of,
    text_from,
)
from perdure_core.model import CallbackDetails, Details, ErrorObject, StepDetails
from perdure_core.payload import NotLoaded, StoredPayload, bytes_of, stored, text_of
from perdure_core.validation import beginning_of, error_bytes
from tests.core.scene import Scene, update

LARGE = "x" * (limits.PAYLOAD_INLINE_BYTES_MAX + 1)
FITTING = "x" * limits.PAYLOAD_INLINE_BYTES_MAX
BEFORE = "920792951f94a173c0c0c001a36f6c64c09453c3a36f6c64c0"
REFERENCE = stored(LARGE.encode())


def error_of(size: int) -> ErrorObject:
    """Return an error of so many bytes, with what JSON spells at length."""
    start = 'é\n"'
    trace = ("frame\n" * 100, "last")
    rest = size - len(start.encode()) - len("ValueError") - sum(map(len, trace)) - len("{}")
    return ErrorObject(start + "x" * rest, "ValueError", "{}", trace)


def step_succeeded(result: str) -> Record:
    return Record(7, (StepSucceeded(Subject("s"), 1, result),))


def test_a_text_at_the_bound_stays_in_its_event() -> None:
    external = ExternalPayloads()
    record = step_succeeded(FITTING)
    assert externalize(record, external) is record
    assert external.bodies == {}


def test_a_text_beyond_the_bound_is_replaced_by_its_reference() -> None:
    external = ExternalPayloads()
    record = externalize(step_succeeded(LARGE), external)
    assert record == Record(7, (StepSucceeded(Subject("s"), 1, REFERENCE),))
    assert external.bodies == {REFERENCE.digest: LARGE.encode()}
    assert decode_record(encode_record(record)) == record
    assert len(encode_record(record)) < 100


def test_a_text_that_was_looked_at_ahead_is_kept_only_where_it_is_found() -> None:
    external = ExternalPayloads()
    external.prepare(LARGE)
    assert external.bodies == {}
    record = externalize(step_succeeded(LARGE), external)
    assert record == Record(7, (StepSucceeded(Subject("s"), 1, REFERENCE),))
    assert external.bodies == {REFERENCE.digest: LARGE.encode()}


def test_equal_texts_of_one_change_are_kept_once() -> None:
    external = ExternalPayloads()
    for text in (LARGE, LARGE[:-1] + "x"):
        assert externalize(step_succeeded(text), external).events[0] == StepSucceeded(
            Subject("s"), 1, REFERENCE
        )
    assert external.bodies == {REFERENCE.digest: LARGE.encode()}


def test_the_bound_counts_bytes_not_characters() -> None:
    external = ExternalPayloads()
    wide = "é" * (limits.PAYLOAD_INLINE_BYTES_MAX // 2)
    assert externalize(step_succeeded(wide), external).events == step_succeeded(wide).events
    wider = wide + "é"
    (event,) = externalize(step_succeeded(wider), external).events
    reference = reference_in(event)
    assert reference is not None
    assert reference.size == bytes_of(wider) == limits.PAYLOAD_INLINE_BYTES_MAX + 2


def test_a_text_that_looks_like_a_reference_is_a_text() -> None:
    """The encoding tells them apart by type: an array from a string."""
    looks = [
        msgspec.json.encode(["digest", 3]).decode(),
        str(REFERENCE),
        msgspec.msgpack.encode(REFERENCE).decode("latin-1"),
    ]
    for text in looks:
        record = step_succeeded(text)
        assert decode_record(encode_record(record)) == record
        assert reference_in(decode_record(encode_record(record)).events[0]) is None


def test_records_from_before_there_were_references_are_read_as_ever() -> None:
    """These bytes were written by the release before, whose encoding knew texts only."""
    before = bytes.fromhex(BEFORE)
    events = (StepSucceeded(Subject("s"), 1, "old"), OutcomeRecorded(True, "old"))
    assert decode_record(before) == Record(7, events)
    assert decode_record(encode_record(Record(7, events))) == Record(7, events)


def test_the_text_of_an_event_and_of_its_delivery_is_kept_once() -> None:
    scene = Scene()
    scene.take()
    decision = scene.do(scene.call(update("CHAINED_INVOKE", "START", "i", payload=LARGE)))
    external = ExternalPayloads()
    taken = externalize_decision(decision, external)
    assert external.bodies == {REFERENCE.digest: LARGE.encode()}
    (delivery,) = taken.deliveries
    assert reference_in(delivery) == REFERENCE
    assert inline(delivery, {REFERENCE: LARGE}) == decision.deliveries[0]


def test_an_outcome_that_was_kept_outside_ends_the_execution_without_its_text() -> None:
    scene = Scene()
    scene.take()
    decision = scene.do(scene.call(update("EXECUTION", "SUCCEED", "end", payload=LARGE)))
    taken = externalize_decision(decision, ExternalPayloads()).record
    assert taken is not None
    state = fold([*scene.records[:-1], taken])
    ended = decide(
        state, Complete(token=scene.held(), status=CompletionStatus.PENDING), scene.now_ms
    )
    assert ended.record is not None
    external = ExternalPayloads()
    assert externalize_decision(ended, external) is ended
    assert apply(state, ended.record).result == REFERENCE


def test_a_decision_that_changes_nothing_keeps_nothing() -> None:
    external = ExternalPayloads()
    assert externalize_decision(NOTHING, external) is NOTHING
    assert external.bodies == {}


def test_whatever_holds_a_payload_can_have_it_kept_outside() -> None:
    """Every field that is typed as a payload is known, so that none stays large by oversight."""
    union = get_args(Event) + get_args(Delivery) + get_args(Details)
    holders = {
        kind: field.name
        for kind in union
        for field in msgspec.structs.fields(kind)
        if StoredPayload in get_args(field.type)
    }
    assert holders == _FIELDS


def test_whatever_holds_an_error_can_have_it_kept_outside() -> None:
    union = get_args(Event) + get_args(Delivery) + get_args(Details)
    holders = {
        kind
        for kind in union
        for field in msgspec.structs.fields(kind)
        if ErrorObject in (field.type, *get_args(field.type))
    }
    assert holders == _FAILING


def test_an_error_at_the_bound_stays_in_its_event() -> None:
    external = ExternalPayloads()
    record = Record(7, (ExecutionFailed(error_of(limits.ERROR_INLINE_BYTES_MAX)),))
    assert externalize(record, external) is record
    assert external.bodies == {}


def test_an_error_beyond_the_bound_leaves_its_beginning() -> None:
    external = ExternalPayloads()
    error = error_of(limits.ERROR_INLINE_BYTES_MAX + 1)
    record = externalize(Record(7, (ExecutionFailed(error),)), external)
    assert decode_record(encode_record(record)) == record
    assert len(encode_record(record)) < 1_500
    (event,) = record.events
    assert isinstance(event, ExecutionFailed)
    beginning = event.error
    assert (beginning.type, beginning.data, beginning.stack_trace) == ("ValueError", None, ())
    assert beginning.message is not None
    assert beginning.message.startswith('é\n"')
    assert beginning.message.endswith("…")
    (reference,) = references_of(event)
    texts = {reference: external.bodies[reference.digest].decode()}
    assert error_from(beginning, texts) == error
    assert inline(event, texts) == ExecutionFailed(error)
    assert error_from(beginning, {}) == beginning
    again = ExternalPayloads()
    assert externalize(record, again) is record
    assert again.bodies == {}


def test_a_large_error_is_counted_by_all_of_it() -> None:
    error = error_of(limits.ERROR_BYTES_MAX)
    body = msgspec.json.encode(error)
    assert error_bytes(beginning_of(error, stored(body))) > limits.ERROR_BYTES_MAX


def test_a_step_may_hold_a_large_state_and_a_large_error() -> None:
    error = error_of(limits.ERROR_BYTES_MAX)
    body = msgspec.json.encode(error).decode()
    details = StepDetails(result=REFERENCE, error=beginning_of(error, stored(body.encode())))
    assert references_of(details) == (REFERENCE, stored(body.encode()))
    texts = {REFERENCE: LARGE, stored(body.encode()): body}
    assert inline(details, texts) == StepDetails(result=LARGE, error=error)


def test_an_error_that_was_kept_outside_fails_the_execution_and_is_reported() -> None:
    scene = Scene()
    scene.take()
    error = error_of(limits.ERROR_BYTES_MAX)
    decision = scene.do(scene.call(update("EXECUTION", "FAIL", "end", error=error)))
    external = ExternalPayloads()
    taken = externalize_decision(decision, external).record
    assert taken is not None
    state = fold([*scene.records[:-1], taken])
    ended = decide(
        state, Complete(token=scene.held(), status=CompletionStatus.PENDING), scene.now_ms
    )
    assert ended.record is not None
    again = ExternalPayloads()
    assert externalize_decision(ended, again) is ended
    beginning = apply(state, ended.record).error
    assert beginning is not None
    assert beginning.kept is not None
    whole = external.bodies[beginning.kept.digest].decode()
    assert error_from(beginning, {beginning.kept: whole}) == error


def test_news_are_counted_by_the_size_of_what_is_kept_outside() -> None:
    scene = Scene()
    scene.take()
    names = [f"cb{number}" for number in range(6)]
    scene.checkpoint(*(update("CALLBACK", "START", name) for name in names))
    for number, name in enumerate(names):
        body = str(number) * 2**20
        record = scene.complete_callback(name, "").record
        assert record is not None
        details = scene.state.operations[name].details
        assert isinstance(details, CallbackDetails)
        details.result = stored(body.encode())
    assert [operation.id for operation in scene.checkpoint()] == names[:4]


def test_a_text_that_is_kept_outside_is_never_taken_for_one_that_is_absent() -> None:
    assert (text_of(None), text_of("1")) == (None, "1")
    with pytest.raises(NotLoaded, match="16,385 bytes"):
        text_of(REFERENCE)
    assert text_from(REFERENCE, {}) is None
    assert text_from(REFERENCE, {REFERENCE: LARGE}) == LARGE
    assert text_from("1", {}) == "1"


def test_operations_are_shown_with_the_texts_that_are_at_hand() -> None:
    scene = Scene()
    scene.take()
    scene.checkpoint(*(update("STEP", "SUCCEED", name, payload="1") for name in ("a", "b")))
    for operation in scene.state.operations.values():
        assert isinstance(operation.details, StepDetails)
        operation.details.result = REFERENCE
    operations = list(scene.state.operations.values())
    assert references_in(operations) == [REFERENCE]
    with_text = inline_operation(operations[0], {REFERENCE: LARGE})
    assert isinstance(with_text.details, StepDetails)
    assert with_text.details.result == LARGE
    # The state has not changed.
    assert references_in(operations) == [REFERENCE]
    assert inline_operation(operations[0], {}) == operations[0]
