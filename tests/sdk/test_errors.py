"""Recorded errors: exceptions become records, and records become exceptions again."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import exceptions
from perdure.exceptions import (
    CallbackError,
    CallbackExternalError,
    DurableOperationError,
    InvocationError,
    NonDeterministicExecutionError,
    StepError,
    StepInterruptedError,
    SuspendExecution,
    TerminationReason,
    TimedSuspendExecution,
    ValidationError,
    qualified_name,
    register_operation_error,
)
from perdure.serdes.error_records import operation_error, step_error
from perdure.worker_api import error_record
from perdure_core.limits import ERROR_BYTES_MAX
from perdure_core.model import ErrorObject
from perdure_core.validation import error_bytes


class SoldOutError(DurableOperationError):
    """An error class of a user."""


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        fail(error)
    return caught.value


def fail(error: BaseException) -> None:
    raise error


def recursion(depth: int) -> None:
    if depth:
        recursion(depth - 1)
    raise ValueError("ä" * 100_000)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("x"), "ValueError"),
        (SoldOutError("x"), f"{__name__}.SoldOutError"),
        (StepError("x"), "perdure.exceptions.StepError"),
    ],
)
def test_an_error_is_recorded_under_its_full_name_and_builtins_bare(
    error: Exception, name: str
) -> None:
    assert qualified_name(type(error)) == name
    assert error_record(error).type == name


def test_a_record_holds_message_and_lines() -> None:
    recorded = error_record(raised(ValueError("no stock")))
    assert recorded.message == "no stock"
    assert recorded.data is None
    assert "in fail" in recorded.stack_trace[-1]


def test_the_data_of_an_operation_error_is_recorded() -> None:
    assert error_record(StepError("x", "T", "data")).data == "data"


def test_a_record_stays_within_its_bound_and_keeps_the_innermost_frames() -> None:
    with pytest.raises(ValueError, match="ä") as caught:
        recursion(300)
    recorded = error_record(caught.value)
    assert error_bytes(recorded) <= ERROR_BYTES_MAX
    assert (recorded.message or "").endswith("…")
    assert "raise ValueError" in recorded.stack_trace[-1]


@settings(deadline=None)  # machines are busy
@given(st.text(), st.text(), st.integers(0, 5))
def test_any_record_stays_within_its_bound(message: str, data: str, scale: int) -> None:
    error = StepError(message * 10**scale, "T", data * 10**scale)
    assert error_bytes(error_record(raised(error))) <= ERROR_BYTES_MAX


def test_text_that_cannot_travel_is_replaced() -> None:
    assert error_record(ValueError("file \udcff")).message == "file ?"


def test_an_error_that_cannot_be_shown_is_recorded_all_the_same() -> None:
    class Shy(Exception):
        def __str__(self) -> str:
            raise KeyError("hidden")

    assert "Shy could not be shown" in (error_record(Shy()).message or "")


RECORD = ErrorObject("sold out", f"{__name__}.SoldOutError", "{}", ("line",))


def test_an_operation_error_is_rebuilt_from_its_record() -> None:
    error = step_error(RECORD)
    assert type(error) is StepError
    assert str(error) == "sold out"
    assert (error.message, error.error_type, error.data) == (
        RECORD.message,
        RECORD.type,
        RECORD.data,
    )
    assert error.stack_trace == ["line"]


def test_the_cause_is_a_stand_in_from_the_record() -> None:
    cause = step_error(RECORD).__cause__
    assert type(cause) is DurableOperationError
    assert cause.error_type == RECORD.type


def test_a_registered_class_stands_in_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: dict[str, type[DurableOperationError]] = {}
    monkeypatch.setattr(exceptions, "_registered", registered)
    register_operation_error(SoldOutError)
    assert type(operation_error(CallbackError, RECORD).__cause__) is SoldOutError


def test_the_own_classes_are_registered() -> None:
    error = DurableOperationError.from_error_fields(
        "perdure.exceptions.CallbackExternalError", "no", None, None
    )
    assert type(error) is CallbackExternalError


def test_only_operation_errors_can_be_registered() -> None:
    with pytest.raises(ValidationError):
        register_operation_error(ValueError)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_record_without_anything_still_makes_an_error() -> None:
    error = step_error(None)
    assert (str(error), error.message, error.stack_trace) == ("", None, None)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NonDeterministicExecutionError("x", "op"), TerminationReason.NON_DETERMINISTIC_EXECUTION),
        (StepInterruptedError("x", "op"), TerminationReason.STEP_INTERRUPTED),
        (InvocationError("x"), TerminationReason.INVOCATION_ERROR),
        (exceptions.ExecutionError("x"), TerminationReason.EXECUTION_ERROR),
        (exceptions.RetryableSerDesError("x"), TerminationReason.SERIALIZATION_ERROR),
    ],
)
def test_what_cannot_be_recovered_says_why(
    error: exceptions.UnrecoverableError, reason: TerminationReason
) -> None:
    assert error.termination_reason is reason


def test_control_flow_is_no_ordinary_exception() -> None:
    assert not issubclass(SuspendExecution, Exception)
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    naive = moment.replace(tzinfo=None)
    for given_moment in (moment, naive):
        suspension = TimedSuspendExecution.from_datetime("later", given_moment)
        assert suspension.scheduled_timestamp == moment.timestamp()
