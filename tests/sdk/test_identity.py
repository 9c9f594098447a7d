"""Identity of durable calls."""

import hashlib

import msgspec
import pytest

from perdure.exceptions import NonDeterministicExecutionError, ValidationError
from perdure.operations.identity import (
    Identity,
    OperationIds,
    check_name,
    check_recorded,
    operation_id,
)
from perdure.types import DurableExecutionArn
from perdure_core.model import (
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StepDetails,
)

CHARGE = Identity(number=3, id="ab", type=OperationType.STEP, sub_type="Step", name="charge")


def stored(
    kind: OperationType = OperationType.STEP,
    sub_type: str | None = "Step",
    name: str | None = "charge",
    parent_id: str | None = None,
) -> Operation:
    return Operation(
        id="ab",
        type=kind,
        status=OperationStatus.SUCCEEDED,
        started_ms=0,
        details=StepDetails(),
        name=name,
        sub_type=sub_type,
        parent_id=parent_id,
    )


def test_an_id_is_the_first_64_hex_digits_of_a_digest_over_the_place() -> None:
    assert operation_id(None, 1) == hashlib.blake2b(b"1").hexdigest()[:64]
    assert operation_id("cd", 12) == hashlib.blake2b(b"cd-12").hexdigest()[:64]


def test_ids_are_those_that_other_sdks_derive() -> None:
    first = "1ced8f5be2db23a6513eba4d819c73806424748a7bc6fa0d792cc1c7d1775a97"
    assert operation_id(None, 1) == first


def test_ids_are_handed_out_in_order_of_arrival() -> None:
    ids = OperationIds()
    assert ids.peek() == operation_id(None, 1)
    assert [ids.take(), ids.take()] == [(1, operation_id(None, 1)), (2, operation_id(None, 2))]
    assert ids.peek() == operation_id(None, 3)


def test_every_update_repeats_the_identity() -> None:
    assert CHARGE.update(OperationAction.SUCCEED, payload="1") == OperationUpdate(
        id="ab",
        type=OperationType.STEP,
        action=OperationAction.SUCCEED,
        name="charge",
        sub_type="Step",
        payload="1",
    )


def test_the_same_call_is_recognised() -> None:
    check_recorded(CHARGE, stored())


@pytest.mark.parametrize(
    ("recorded", "field"),
    [
        (stored(kind=OperationType.WAIT), "type"),
        (stored(sub_type="WaitForCondition"), "sub_type"),
        (stored(name="refund"), "name"),
        (stored(name=None), "name"),
        (stored(parent_id="ef"), "parent_id"),
    ],
)
def test_another_call_at_the_same_place_is_refused(recorded: Operation, field: str) -> None:
    with pytest.raises(NonDeterministicExecutionError, match=field) as caught:
        check_recorded(CHARGE, recorded)
    assert caught.value.step_id == "ab"


def test_the_refusal_shows_what_is_recorded_beside_what_was_requested() -> None:
    with pytest.raises(NonDeterministicExecutionError) as caught:
        check_recorded(CHARGE, stored(OperationType.WAIT, "Wait", "cool-down"))
    assert str(caught.value) == (
        "Durable call 3 does not match the history (type, sub_type, name).\n"
        "  recorded:  WAIT (Wait) 'cool-down'\n"
        "  requested: STEP (Step) 'charge'\n"
        "Every replay must make the same durable calls in the same order. Operation ab."
    )


def test_the_refusal_names_the_line_of_the_call_where_it_is_known() -> None:
    placed = msgspec.structs.replace(CHARGE, line="order.py:12")
    with pytest.raises(NonDeterministicExecutionError, match=r"'charge', at order\.py:12\n"):
        check_recorded(placed, stored(name="refund"))


@pytest.mark.parametrize("name", ["", "a" * 257, "größe", "two\nlines"])
def test_a_name_outside_the_limits_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="256 printable ASCII"):
        check_name(name)


@pytest.mark.parametrize("name", [None, "a", "a" * 256, "with blanks, and more!"])
def test_a_name_within_the_limits_is_accepted(name: str | None) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("arn", "parts"),
    [
        (
            "arn:perdure:lambda:default:000000000000:function:f:$LATEST/durable-execution/one/0f",
            DurableExecutionArn("f", "one", "0f"),
        ),
        ("arn:aws:lambda:x:1:function:f:1/durable-execution/one/0f/more", None),
        ("arn:aws:lambda:x:1:function:f:1/durable-execution/one", None),
        ("arn:aws:lambda:x:1:function:f", None),
        ("", None),
    ],
)
def test_the_arn_of_an_execution_tells_its_parts(
    arn: str, parts: DurableExecutionArn | None
) -> None:
    assert DurableExecutionArn.from_arn(arn) == parts
