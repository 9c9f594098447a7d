"""Histories of steps, waits, polls and ends of the published AWS SDK, versions 1 and 3.

Histories are compared whole, as boto3 returns them. Time passes only when a test moves the clock.
"""

from pathlib import Path
from typing import Any, Final

import pytest

from perdure_core.limits import ERROR_BYTES_MAX
from tests.hosting.paced import PacedMachine
from tests.lambda_api.aws_history import (
    EXECUTION_TIMEOUT_S,
    INVOKED,
    KILLED,
    LATER_S,
    Operation,
    Row,
    batch_result,
    failure,
    history,
    place_id,
    started,
    success,
)

pytestmark = pytest.mark.timeout(240)

SDK_ERRORS: Final = "aws_durable_execution_sdk_python.exceptions"
MIB: Final = 1_024 * 1_024
PAY: Final = Operation("1", "pay", "Step")
POLL: Final = Operation("1", "poll", "WaitForCondition")


def test_a_step_then_a_wait_is_shown_as_by_aws(aws: PacedMachine) -> None:
    played = aws.play("step_then_wait", LATER_S, q=1)
    assert played.result == 2
    assert history(aws, played.arn) == success(
        played,
        *Operation("1", "add", "Step").step(2),
        *Operation("2", "rest", "Wait").waiting(),
    )


def test_the_second_recorded_sample_of_aws_comes_out_event_by_event(
    aws: PacedMachine, tmp_path: Path
) -> None:
    played = aws.play("second_sample", 2, 1, 3, marker=str(tmp_path / "marker"))
    assert played.result == [2, [2, 4]]
    flaky = Operation("3", "flaky", "Step")
    poll = Operation("4", "poll", "WaitForCondition")
    mapped = Operation("5", "doubled", "Map")
    rows = history(aws, played.arn)
    assert [each["result"] for each in batch_result(rows[21])["all"]] == [2, 4]
    assert rows == [
        *(started(played.event),),
        *Operation("1", "first", "Step").step('{"t":"m","v":{"k":{"t":"i","v":1}}}'),
        *Operation("2", "rest", "Wait").waiting(2),
        *(*flaky.failing(failure("flaky"), 1, 1), INVOKED),
        *flaky.step('"steady"', 2),
        *(*poll.step(1, 1, 3), INVOKED),
        *poll.step(2, 2),
        mapped.row("ContextStarted"),
        *Operation("5-0-1", "double 0", "Step", "5").step(2),
        *Operation("5-1-1", "double 1", "Step", "5").step(4),
        mapped.row("ContextSucceeded", Result={"Truncated": False}),
        *success(played)[-2:],
    ]
    assert len(rows) == 24


def test_a_last_failure_has_no_next_attempt(aws: PacedMachine, sdk_is_1: bool) -> None:
    played = aws.play("fails_twice", LATER_S)
    bad = Operation("1", "bad", "Step")
    # Version 1 and version 3 name what a failed step raises differently.
    kind = "CallableRuntimeError" if sdk_is_1 else f"{SDK_ERRORS}.StepError"
    assert history(aws, played.arn) == [
        *(started(played.event), *bad.failing(failure("boom"), 1, LATER_S), INVOKED),
        *(*bad.failing(failure("boom"), 2), INVOKED),
        Row("ExecutionFailed", details={"Error": failure("boom", kind)}),
    ]


def test_a_poll_that_raises_is_its_last(aws: PacedMachine, sdk_is_1: bool) -> None:
    played = aws.play("poll_fails", 3)
    rows = history(aws, played.arn)
    polls = [*POLL.step(1, 1, 3), INVOKED, *POLL.failing(failure("no state"), 2)]
    if sdk_is_1:
        # Version 1 lets the check's own error through, and the handler catches the SDK's only.
        end = Row("ExecutionFailed", details={"Error": failure("no state")})
        assert rows == [started(played.event), *polls, INVOKED, end]
        return
    assert played.result == {"raised": "no state", "type": "WaitForConditionError"}
    assert rows == success(played, *polls)


def test_steps_that_run_at_most_once_are_shown_like_others(aws: PacedMachine) -> None:
    played = aws.play("at_most_once")
    paid, raised = played.result
    assert (paid, raised["raised"]) == ("paid", "boom")
    assert history(aws, played.arn) == success(
        played,
        *PAY.step('"paid"'),
        *Operation("2", "bad", "Step").failing(failure("boom")),
    )


def interrupted(sdk_is_1: bool) -> dict[str, Any]:
    """Return the error that the SDK records for an at-most-once step whose process died."""
    message = f"Step operation_id={place_id('1')} name=pay was previously interrupted"
    return failure(
        message, "StepInterruptedError" if sdk_is_1 else f"{SDK_ERRORS}.StepInterruptedError"
    )


def test_a_step_that_runs_at_most_once_has_failed_with_its_process(
    aws: PacedMachine, sdk_is_1: bool, tmp_path: Path
) -> None:
    event = {"semantics": "AT_MOST_ONCE_PER_RETRY", "marker": str(tmp_path / "marker")}
    played = aws.play("dies_in_a_step", again=False, **event)
    assert played.result["type"] == ("StepInterruptedError" if sdk_is_1 else "StepError")
    start, failed = PAY.failing(interrupted(sdk_is_1))
    assert history(aws, played.arn) == success(played, start, KILLED, failed)


def test_a_step_that_runs_at_most_once_is_retried_as_its_strategy_says(
    aws: PacedMachine, sdk_is_1: bool, tmp_path: Path
) -> None:
    event = {"semantics": "AT_MOST_ONCE_PER_RETRY", "marker": str(tmp_path / "marker")}

    def nothing(arn: str) -> None:
        """Advance no clock: the next invocation follows the broken one at once."""

    played = aws.play("dies_in_a_step", nothing, LATER_S, again=True, **event)
    assert played.result == "paid"
    start, failed = PAY.failing(interrupted(sdk_is_1), 1, LATER_S)
    assert history(aws, played.arn) == success(
        played, start, KILLED, failed, INVOKED, *PAY.step('"paid"', 2)
    )


def test_a_step_that_runs_at_least_once_runs_again_within_its_attempt(
    aws: PacedMachine, tmp_path: Path
) -> None:
    event = {"semantics": "AT_LEAST_ONCE_PER_RETRY", "marker": str(tmp_path / "marker")}
    played = aws.play("dies_in_a_step", again=False, **event)
    assert played.result == "paid"
    start, done = PAY.step('"paid"')
    assert history(aws, played.arn) == success(played, start, KILLED, done)


def test_payloads_are_left_out_and_marked_where_they_are_not_asked_for(aws: PacedMachine) -> None:
    played = aws.play("at_most_once")
    cut = {"Truncated": True}
    attempt = {"CurrentAttempt": 1}
    bad = Operation("2", "bad", "Step")
    assert history(aws, played.arn, IncludeExecutionData=False) == [
        Row("ExecutionStarted", details={"Input": cut, "ExecutionTimeout": EXECUTION_TIMEOUT_S}),
        *(PAY.row("StepStarted"), PAY.row("StepSucceeded", Result=cut, RetryDetails=attempt)),
        *(bad.row("StepStarted"), bad.row("StepFailed", Error=cut, RetryDetails=attempt)),
        *(INVOKED, Row("ExecutionSucceeded", details={"Result": cut})),
    ]


@pytest.mark.parametrize("size", [6 * MIB - 52, 6 * MIB - 51, 6 * MIB - 2])
def test_a_result_beyond_what_a_handler_may_return_is_recorded_by_its_checkpoint(
    aws: PacedMachine, size: int
) -> None:
    # The text has two quotation marks, and what is larger than 6 MiB - 50 is sent ahead.
    played = aws.play("large_result", size=size)
    assert (played.function_error, len(played.result)) == (None, size)
    # A history tells that it is there; the answer of the call has carried it.
    assert history(aws, played.arn) == [
        *(started(played.event), INVOKED),
        Row("ExecutionSucceeded", details={"Result": {"Truncated": True}}),
    ]


# The last one is beyond what a handler may return: it is sent ahead, by a checkpoint.
@pytest.mark.parametrize("size", [300_000, ERROR_BYTES_MAX, 7 * MIB])
def test_an_error_beyond_its_bound_is_cut_and_fails_the_execution(
    aws: PacedMachine, size: int
) -> None:
    played = aws.play("large_error", size=size)
    assert played.result["errorType"] == "ValueError"
    message = played.result["errorMessage"]
    assert message.startswith("xxx")
    if size < ERROR_BYTES_MAX:
        assert len(message) == size
    else:
        assert ERROR_BYTES_MAX // 8 < len(message) < ERROR_BYTES_MAX
    end = Row("ExecutionFailed", details={"Error": failure(message)})
    assert history(aws, played.arn) == [started(played.event), INVOKED, end]


def test_the_large_error_of_a_step_is_the_same_in_every_invocation(aws: PacedMachine) -> None:
    size = 500_000
    played = aws.play("large_step_error", LATER_S, size=size)
    assert played.result == [size, size]
    assert history(aws, played.arn) == success(
        played,
        *Operation("1", "bad", "Step").failing(failure("x" * size)),
        *Operation("2", "first", "Step").step(size),
        *Operation("3", "rest", "Wait").waiting(),
    )
